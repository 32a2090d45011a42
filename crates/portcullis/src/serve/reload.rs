//! Reading the settings anew, without a restart: on SIGHUP, or when `portcullis reload` asks. They are checked whole,
//! and then put in force in one step; what cannot be used changes nothing. Open connections and streams go on.

use std::sync::Arc;

use portcullis_model::Random;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::wiring::{House, gate_config, upstreams};
use portcullis_settings::{Settings, Sources};

/// Reads settings anew whenever it is asked to.
pub(super) struct Reloader {
    hangups: Signal,
    asked: mpsc::Receiver<Asked>,
    sources: Sources,
    settings: Settings,
    random: Random,
    house: Arc<House>,
}

/// Somebody who waits to hear what became of it.
pub(super) type Asked = oneshot::Sender<Result<Reloaded, String>>;

/// What is in force now.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// How many routes of the operator's there are.
    pub routes: usize,
    /// How many upstreams.
    pub upstreams: usize,
    /// Keys that changed and take effect at the next start only.
    pub waiting_for_restart: Vec<String>,
    /// What is probably a mistake.
    pub warnings: Vec<String>,
}

impl Reloader {
    /// From now on SIGHUP ends nothing.
    pub(super) fn new(
        house: &Arc<House>,
        settings: Settings,
        sources: Sources,
        random: Random,
    ) -> std::io::Result<(Self, mpsc::Sender<Asked>)> {
        let (ask, asked) = mpsc::channel(1);
        let hangups = signal(SignalKind::hangup())?;
        Ok((Self { hangups, asked, sources, settings, random, house: Arc::clone(house) }, ask))
    }

    /// Follows SIGHUP and whoever asks until `stopping` is cancelled.
    pub(super) async fn run(mut self, stopping: CancellationToken) {
        loop {
            let asked = tokio::select! {
                hangup = self.hangups.recv() => match hangup {
                    Some(()) => None,
                    None => return,
                },
                Some(asked) = self.asked.recv() => Some(asked),
                () = stopping.cancelled() => return,
            };
            let outcome = self.reload().await;
            match &outcome {
                Ok(reloaded) => {
                    self.house.metrics.reload("applied");
                    tracing::info!(
                        routes = reloaded.routes,
                        upstreams = reloaded.upstreams,
                        "the settings were read anew"
                    );
                    if !reloaded.waiting_for_restart.is_empty() {
                        let keys = reloaded.waiting_for_restart.join(", ");
                        tracing::warn!(%keys, "these keys changed and take effect at the next start only");
                    }
                }
                Err(why) => {
                    self.house.metrics.reload("refused");
                    tracing::error!(%why, "the settings in force stay: what was read cannot be used");
                }
            }
            if let Some(asked) = asked {
                // Whoever asked may have gone away.
                let _ = asked.send(outcome);
            }
        }
    }

    async fn reload(&mut self) -> Result<Reloaded, String> {
        let read = portcullis_settings::load(&self.sources, &portcullis_api::route_specs())
            .map_err(|problems| problems.to_string())?;
        let secrets = read.keep_secrets(&self.random).map_err(|error| error.to_string())?;
        // What a start decides for good stays as it was.
        let read = Settings { environment: self.settings.environment, ..read };
        let config = gate_config(&read, &secrets, &self.house.metrics).map_err(|error| error.to_string())?;
        let replaced = self.house.identity.replace_secrets(secrets.encryption, secrets.jwt.as_ref()).await;
        replaced.map_err(|error| match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        })?;
        // From here on nothing can fail. Roles come first, because a route may ask for a new permission; then the
        // upstreams, because a route may lead to a new one.
        if read.roles != self.settings.roles {
            self.house.sessions.set_roles(read.roles.clone());
        }
        self.house.front.proxy.swap(upstreams(&read), &self.house.metrics);
        self.house.front.gate.swap(config);
        let reloaded = Reloaded {
            routes: read.routes.len(),
            upstreams: read.upstreams.len(),
            waiting_for_restart: self.settings.written.waiting_for_restart(&read.written),
            warnings: read.warnings.iter().map(ToString::to_string).collect(),
        };
        // What waits for a restart goes on being told: it is compared with what the process started with.
        self.settings = Settings { written: self.settings.written.clone(), ..read };
        Ok(reloaded)
    }
}
