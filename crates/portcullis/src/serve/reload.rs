//! Reloads the settings without a restart, on SIGHUP or for `portcullis reload`, and secrets that were replaced in their
//! store.
//!
//! The new settings are checked as a whole and then applied in one step. An invalid file is rejected and the old
//! settings stay in force. Open connections and streams go on.

use std::sync::Arc;

use portcullis_model::Random;
use portcullis_model::finding::with_causes;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::log_level::LogLevel;
use super::open_files;
use super::secret_refresh::SecretRefresh;
use crate::assembly::{Application, gate_config, metrics_gate_config, upstreams};
use crate::secret_store;
use portcullis_secrets::StoredSecrets;
use portcullis_settings::{Settings, Sources, Stored};

/// Reloads the settings whenever it is asked to.
pub(super) struct Reloader {
    hangups: Signal,
    requests: mpsc::Receiver<ReloadRequest>,
    sources: Sources,
    settings: Settings,
    random: Random,
    application: Arc<Application>,
    log_level: Arc<LogLevel>,
    secrets: SecretRefresh,
    /// Why the secrets of the store were refused the last time, so that the log is told once.
    refusal: Option<String>,
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
        let mut secrets = SecretRefresh::new(&application.front.services.clock, &random, &application.metrics);
        if let Err(error) = secrets.follow(&settings, secret_store::stored(&sources)) {
            secrets.tell_failure(&error);
        }
        Ok((
            Self { hangups, requests, sources, settings, random, application, log_level, secrets, refusal: None },
            sender,
        ))
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
                () = self.secrets.due() => {
                    // A store that hangs does not hold up the end of the process.
                    tokio::select! {
                        () = self.refresh() => continue,
                        () = stopping.cancelled() => return,
                    }
                }
                () = stopping.cancelled() => return,
            };
            let outcome = tokio::select! {
                outcome = self.reload() => outcome,
                () = stopping.cancelled() => return,
            };
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
        let mut sources = self.sources.clone();
        let store_warning = self.read_store(&mut sources).await?;
        let new = portcullis_settings::load(&sources, &portcullis_api::route_specs())
            .map_err(|problems| problems.to_string())?;
        self.replace_login(&new).await?;
        let waiting_for_restart = self.settings.waiting_for_restart(&new);
        let settings = self.settings.reloaded(new);
        let mut reloaded = Reloaded {
            routes: settings.routes.len(),
            upstreams: settings.upstreams.len(),
            waiting_for_restart,
            warnings: settings.warnings.iter().map(ToString::to_string).collect(),
        };
        reloaded.warnings.extend(store_warning);
        self.put_in_force(settings).await?;
        self.sources = sources;
        self.follow_store();
        Ok(reloaded)
    }

    /// Connects to the database with another login from now on, if these settings have one and the server accepts it.
    async fn replace_login(&mut self, new: &Settings) -> Result<(), String> {
        if self.settings.database.url.is_same(&new.database.url) {
            return Ok(());
        }
        let replaced = self.application.store.replace_login(&new.database.url).await;
        match replaced {
            Ok(true) => {
                self.settings.take_database_url(new);
                tracing::info!("the login to the database was replaced");
                Ok(())
            }
            // Another database waits for a restart.
            Ok(false) => Ok(()),
            Err(error) => {
                let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
                Err(format!("the new DATABASE_URL cannot be used: {}{hint}", with_causes(&error)))
            }
        }
    }

    /// Reads the store of secrets. While it cannot be read, the last secrets stay in force, and a warning says so.
    async fn read_store(&self, sources: &mut Sources) -> Result<Option<String>, String> {
        let Err(error) = secret_store::read(sources).await else {
            if matches!(sources.stored, Stored::Read(_)) {
                self.secrets.tell_success();
            }
            return Ok(None);
        };
        match &sources.stored {
            Stored::Read(_) => {
                self.secrets.tell_failure(&error);
                Ok(Some(format!("{error}; the last secrets stay in force\n  hint: {}", error.hint())))
            }
            Stored::NotAsked => Err(format!("{error}\n  hint: {}", error.hint())),
        }
    }

    /// Reads the store of secrets again.
    async fn refresh(&mut self) {
        if let Some((stored, changed)) = self.secrets.read().await {
            Box::pin(self.take_over(stored, &changed)).await;
        }
    }

    /// Puts secrets in force that were replaced in their store, and nothing else that changed meanwhile.
    async fn take_over(&mut self, stored: StoredSecrets, changed: &[String]) {
        let sources = Sources { stored: Stored::Read(stored), ..self.sources.clone() };
        let new = portcullis_settings::load(&sources, &portcullis_api::route_specs());
        let outcome = match new {
            Ok(new) => Box::pin(self.put_secrets_in_force(new)).await,
            Err(problems) => Err(problems.to_string()),
        };
        let names = changed.join(", ");
        match outcome {
            Ok(waiting) => {
                self.refusal = None;
                if let Stored::Read(stored) = &sources.stored {
                    self.secrets.accept(stored.clone());
                }
                self.sources = sources;
                tracing::info!(%names, "secrets that were replaced in the secret store are in force");
                if !waiting.is_empty() {
                    let keys = waiting.join(", ");
                    tracing::warn!(%keys, "settings that changed take effect only after a restart");
                }
            }
            Err(why) if self.refusal.as_ref() == Some(&why) => {}
            Err(why) => {
                self.application.metrics.reload("refused");
                tracing::error!(%names, %why, "the secrets of the secret store are invalid; the old secrets stay in force");
                self.refusal = Some(why);
            }
        }
    }

    /// Returns the secrets that wait for a restart.
    async fn put_secrets_in_force(&mut self, new: Settings) -> Result<Vec<String>, String> {
        self.replace_login(&new).await?;
        let waiting = self.settings.secrets_waiting_for_restart(&new);
        self.put_in_force(self.settings.with_secrets_of(new)).await?;
        Ok(waiting)
    }

    fn follow_store(&mut self) {
        if let Err(error) = self.secrets.follow(&self.settings, secret_store::stored(&self.sources)) {
            self.secrets.tell_failure(&error);
        }
    }

    async fn put_in_force(&mut self, settings: Settings) -> Result<(), String> {
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
        // The keys that wait for a restart keep their values of the start, so that later reloads list them again.
        self.settings = settings;
        Ok(())
    }
}
