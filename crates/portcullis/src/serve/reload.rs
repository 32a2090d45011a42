//! SIGHUP: secrets are read anew, without a restart. What is wrong with them changes nothing.

use std::sync::Arc;

use portcullis_model::Random;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::wiring::{House, gate_config};
use crate::settings::{self, Settings, Sources};

/// Reads secrets anew whenever it is asked to.
pub(super) struct Reloader {
    hangups: Signal,
    sources: Sources,
    settings: Settings,
    random: Random,
    house: Arc<House>,
}

impl Reloader {
    /// From now on SIGHUP ends nothing.
    pub(super) fn new(
        house: &Arc<House>,
        settings: Settings,
        sources: Sources,
        random: Random,
    ) -> std::io::Result<Self> {
        Ok(Self { hangups: signal(SignalKind::hangup())?, sources, settings, random, house: Arc::clone(house) })
    }

    /// Follows SIGHUP until `stopping` is cancelled.
    pub(super) async fn run(mut self, stopping: CancellationToken) {
        loop {
            tokio::select! {
                hangup = self.hangups.recv() => if hangup.is_none() { return },
                () = stopping.cancelled() => return,
            }
            match self.reload().await {
                Ok(()) => tracing::info!("secrets were read anew"),
                Err(why) => tracing::error!(%why, "the secrets in force stay: what was read cannot be used"),
            }
        }
    }

    async fn reload(&self) -> Result<(), String> {
        let read = settings::load(&self.sources).map_err(|problems| problems.to_string())?;
        let secrets = read.keep_secrets(&self.random).map_err(|error| error.to_string())?;
        let config = gate_config(&self.settings, &secrets, &self.house.metrics).map_err(|error| error.to_string())?;
        let replaced = self.house.identity.replace_secrets(secrets.encryption, secrets.jwt.as_ref()).await;
        replaced.map_err(|error| match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        })?;
        self.house.front.gate.swap(config);
        Ok(())
    }
}
