//! Reads the store of secrets again and again, so that replaced secrets are put in force. A store that is gone changes
//! nothing: the last good secrets stay in force, which the log and a metric tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_model::finding::with_causes;
use portcullis_model::{Clock, Random};
use portcullis_secrets::{SecretStore, StoreError, StoreOptions, StoredSecrets};
use portcullis_settings::Settings;
use portcullis_telemetry::{Metrics, ReadMetric};
use tokio::time::Instant;

/// The readings of a store.
pub(super) struct SecretRefresh {
    clock: Clock,
    random: Random,
    metrics: Metrics,
    /// `None` while the settings name no store.
    watched: Option<Watched>,
    is_up: Arc<AtomicBool>,
}

struct Watched {
    options: StoreOptions,
    store: SecretStore,
    interval: Duration,
    next: Instant,
    last: StoredSecrets,
}

impl SecretRefresh {
    pub(super) fn new(clock: &Clock, random: &Random, metrics: &Metrics) -> Self {
        let (clock, random, metrics) = (clock.clone(), random.clone(), metrics.clone());
        Self { clock, random, metrics, watched: None, is_up: Arc::new(AtomicBool::new(true)) }
    }

    /// Follows the store of these settings, from which `last` was read.
    pub(super) fn follow(&mut self, settings: &Settings, last: Option<&StoredSecrets>) -> Result<(), StoreError> {
        let (Some(options), Some(last)) = (&settings.secret_store, last) else {
            self.watched = None;
            self.metrics.read_value(ReadMetric::SecretStoreUp, || None);
            return Ok(());
        };
        let interval = settings.secret_refresh;
        let known = self.watched.take().filter(|watched| watched.options == *options);
        let store = match known {
            Some(watched) => watched.store,
            None => SecretStore::new(options, &self.clock)?,
        };
        let next = Instant::now() + self.spread(interval);
        self.watched = Some(Watched { options: options.clone(), store, interval, next, last: last.clone() });
        let is_up = Arc::clone(&self.is_up);
        self.metrics
            .read_value(ReadMetric::SecretStoreUp, move || Some(f64::from(u8::from(is_up.load(Ordering::Relaxed)))));
        Ok(())
    }

    /// Waits for the time of the next reading; for ever without a store.
    pub(super) async fn due(&self) {
        match &self.watched {
            Some(watched) => tokio::time::sleep_until(watched.next).await,
            None => std::future::pending().await,
        }
    }

    /// Reads the store. Returns its secrets and the names of those that changed, if any did.
    pub(super) async fn read(&mut self) -> Option<(StoredSecrets, Vec<String>)> {
        let watched = self.watched.as_ref()?;
        let outcome = watched.store.read().await;
        let look = match &outcome {
            Ok(_) => watched.store.keep_alive().await.unwrap_or_else(|error| {
                tracing::warn!(
                    error = with_causes(&error),
                    hint = error.hint(),
                    "the access to the secret store cannot be prolonged"
                );
                None
            }),
            Err(_) => None,
        };
        let interval = self.spread(watched.interval);
        let watched = self.watched.as_mut()?;
        watched.next = Instant::now() + look.map_or(interval, |look| interval.min(look));
        match outcome {
            Ok(stored) => {
                self.tell_success();
                let changed = self.watched.as_ref()?.last.changed_names(&stored);
                (!changed.is_empty()).then_some((stored, changed))
            }
            Err(error) => {
                self.tell_failure(&error);
                None
            }
        }
    }

    /// Notes which secrets are in force. Until then each reading returns those that differ.
    pub(super) fn accept(&mut self, stored: StoredSecrets) {
        if let Some(watched) = &mut self.watched {
            watched.last = stored;
        }
    }

    /// Notes a reading that a reload made.
    pub(super) fn tell_success(&self) {
        self.metrics.secret_store_read("success");
        if !self.is_up.swap(true, Ordering::Relaxed) {
            tracing::info!("the secret store can be read again");
        }
    }

    /// Notes a failed reading; the log is told of the first one only.
    pub(super) fn tell_failure(&self, error: &StoreError) {
        self.metrics.secret_store_read("failure");
        if self.is_up.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                error = with_causes(error),
                hint = error.hint(),
                "the secret store cannot be read; the last secrets stay in force"
            );
        }
    }

    /// A time around the interval, so that replicas do not read all at once: between 90 % and 110 % of it.
    fn spread(&self, interval: Duration) -> Duration {
        let [byte] = self.random.bytes::<1>();
        interval.mul_f64(0.9 + 0.2 * f64::from(byte) / 255.0)
    }
}
