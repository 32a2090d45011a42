//! Reloads the settings without a restart, on SIGHUP or for `portcullis reload`.
//!
//! The new settings are checked as a whole and then applied in one step. An invalid file is rejected and the old
//! settings stay in force. Open connections and streams go on.

use std::sync::Arc;

use portcullis_model::Random;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::log_level::LogLevel;
use super::open_files;
use crate::assembly::{Application, gate_config, metrics_gate_config, upstreams};
use portcullis_settings::{Settings, Sources};

/// Reloads the settings whenever it is asked to.
pub(super) struct Reloader {
    hangups: Signal,
    requests: mpsc::Receiver<ReloadRequest>,
    sources: Sources,
    settings: Settings,
    random: Random,
    application: Arc<Application>,
    log_level: Arc<LogLevel>,
}

/// A request to reload; the sender receives the outcome.
pub(super) type ReloadRequest = oneshot::Sender<Result<Reloaded, String>>;

/// The outcome of a reload that was applied.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// How many routes the settings define.
    pub routes: usize,
    /// How many upstreams the settings define.
    pub upstreams: usize,
    /// Keys that changed and take effect only after a restart.
    pub waiting_for_restart: Vec<String>,
    /// Warnings about settings that are probably mistakes.
    pub warnings: Vec<String>,
}

impl Reloader {
    /// From now on SIGHUP does not end the process.
    pub(super) fn new(
        application: &Arc<Application>,
        settings: Settings,
        sources: Sources,
        random: Random,
        log_level: &Arc<LogLevel>,
    ) -> std::io::Result<(Self, mpsc::Sender<ReloadRequest>)> {
        let (sender, requests) = mpsc::channel(1);
        let hangups = signal(SignalKind::hangup())?;
        let (application, log_level) = (Arc::clone(application), Arc::clone(log_level));
        Ok((Self { hangups, requests, sources, settings, random, application, log_level }, sender))
    }

    /// Reloads on SIGHUP and on request until `stopping` is cancelled.
    pub(super) async fn run(mut self, stopping: CancellationToken) {
        loop {
            let request = tokio::select! {
                hangup = self.hangups.recv() => match hangup {
                    Some(()) => None,
                    None => return,
                },
                Some(request) = self.requests.recv() => Some(request),
                () = stopping.cancelled() => return,
            };
            let outcome = self.reload().await;
            match &outcome {
                Ok(reloaded) => {
                    self.application.metrics.reload("applied");
                    tracing::info!(
                        routes = reloaded.routes,
                        upstreams = reloaded.upstreams,
                        "the settings were reloaded"
                    );
                    if !reloaded.waiting_for_restart.is_empty() {
                        let keys = reloaded.waiting_for_restart.join(", ");
                        tracing::warn!(%keys, "settings that changed take effect only after a restart");
                    }
                }
                Err(why) => {
                    self.application.metrics.reload("refused");
                    tracing::error!(%why, "the reload was refused: the new settings are invalid and the old settings stay in force");
                }
            }
            if let Some(request) = request {
                // The command may have been interrupted.
                let _ = request.send(outcome);
            }
        }
    }

    async fn reload(&mut self) -> Result<Reloaded, String> {
        let new = portcullis_settings::load(&self.sources, &portcullis_api::route_specs())
            .map_err(|problems| problems.to_string())?;
        let waiting_for_restart = self.settings.waiting_for_restart(&new);
        let settings = self.settings.reloaded(new);
        let secrets = settings.load_or_create_secrets(&self.random).map_err(|error| error.to_string())?;
        let clock = &self.application.front.services.clock;
        let config = gate_config(&settings, &secrets, &self.application.metrics, clock);
        let config = config.map_err(|error| match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        })?;
        let metrics_config = metrics_gate_config(&settings, &secrets, &self.application.metrics, clock);
        let metrics_config = metrics_config.map_err(|error| error.to_string())?;
        let encryption = secrets.encryption.clone();
        let replaced =
            self.application.identity.signing_keys.replace_secrets(secrets.encryption, secrets.jwt.as_ref()).await;
        replaced.map_err(|error| match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        })?;
        // From here on nothing can fail.
        if let Some(redis) = &self.application.redis {
            redis.replace_secrets(&encryption);
        }
        self.application.identity.signing_keys.set_clock_leeway(settings.session.clock_leeway);
        // Roles come first, because a route may require a new permission; then the
        // upstreams, because a route may name a new one.
        if settings.roles != self.settings.roles {
            self.application.sessions.set_roles(settings.roles.clone());
        }
        if settings.server.public_url != self.settings.server.public_url {
            self.application.identity.mailer.set_public_url(settings.base_url());
        }
        open_files(&settings).warn_if_too_low();
        self.application.front.proxy.swap(upstreams(&settings), &self.application.metrics);
        self.application.front.gate.swap(config);
        if let (Some(front), Some(config)) = (&self.application.metrics_front, metrics_config) {
            front.gate.swap(config);
        }
        self.log_level.configure(&settings.log.filter);
        let reloaded = Reloaded {
            routes: settings.routes.len(),
            upstreams: settings.upstreams.len(),
            waiting_for_restart,
            warnings: settings.warnings.iter().map(ToString::to_string).collect(),
        };
        // The keys that wait for a restart keep their values of the start, so that later reloads list them again.
        self.settings = settings;
        Ok(reloaded)
    }
}
