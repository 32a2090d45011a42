//! The revocation feed: reads the revocation log, so that this replica learns what the others have revoked.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use portcullis_storage::{LogPosition, Store, StoreError};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::cache::SessionCache;

/// The period between two readings: a logout reaches every replica within a second (SR-22).
const PERIOD: Duration = Duration::from_millis(500);
/// Notifications that arrive within this time cause one reading.
const NOTIFICATION_PAUSE: Duration = Duration::from_millis(5);
/// A reading that takes longer than this is cancelled and tried again.
const READING_TIMEOUT: Duration = Duration::from_secs(5);
/// A log that was not read for longer than this may have lost entries to pruning, so no copy can be trusted.
const MAX_GAP: Duration = Duration::from_secs(3_600);

/// Reads the revocation log for a [`SessionCache`], on a database connection of its own.
pub struct RevocationFeed {
    cache: Arc<SessionCache>,
    store: Store,
    /// Up to where the log was read; `None` before the first reading.
    position: Mutex<Option<LogPosition>>,
    /// Signalled when another replica has appended to the log.
    appended: Notify,
}

impl RevocationFeed {
    /// A feed that has read nothing yet.
    pub fn new(store: &Store, cache: &Arc<SessionCache>) -> Arc<Self> {
        Arc::new(Self {
            cache: Arc::clone(cache),
            store: store.clone(),
            position: Mutex::default(),
            appended: Notify::new(),
        })
    }

    /// Reads the log once and tells every listener of the store what is new to it.
    pub async fn read(&self) -> Result<(), StoreError> {
        let mut position = self.position.lock().await;
        let begun = Instant::now();
        let from = match *position {
            Some(known) if self.cache.feed_age().is_some_and(|age| age < MAX_GAP) => known,
            _ => {
                let end = self.store.feed_end().await?;
                // Shared copies may be older than this reading: what has overtaken them must be read first.
                end.rewound(self.cache.begin_feed())
            }
        };
        let to = self.store.read_revocations(from).await?;
        *position = Some(to);
        self.cache.feed_was_read(begun);
        Ok(())
    }

    /// Has the log read now instead of at the end of the period: another replica has appended to it.
    pub fn notify(&self) {
        self.appended.notify_one();
    }

    /// Reads the log twice a second, and after each [`notify`](Self::notify), until cancelled. A listener that panics
    /// ends that reading only.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let periodic = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => true,
                () = self.appended.notified() => false,
            };
            if !periodic {
                // A failure shows at the next periodic reading, half a second from here at most.
                let _ = bounded(self.read_appended()).await;
                tokio::time::sleep(NOTIFICATION_PAUSE).await;
                continue;
            }
            match bounded(self.read()).await {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("the revocation log is read again");
                }
                Err(reason) if !failing => {
                    failing = true;
                    tracing::warn!(%reason, "the revocation log cannot be read");
                }
                _ => {}
            }
        }
    }

    /// Reads only entries with a higher number than any before; entries that commit late are left to
    /// [`read`](Self::read).
    async fn read_appended(&self) -> Result<(), StoreError> {
        let mut position = self.position.lock().await;
        if let Some(known) = *position {
            *position = Some(self.store.read_new_revocations(known).await?);
        }
        Ok(())
    }
}

/// Awaits a reading within [`READING_TIMEOUT`], and turns a panic into a failure. The error is the reason in words.
async fn bounded(reading: impl Future<Output = Result<(), StoreError>>) -> Result<(), String> {
    match tokio::time::timeout(READING_TIMEOUT, AssertUnwindSafe(reading).catch_unwind()).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(reason(&error)),
        Ok(Err(_)) => Err("a listener panicked".to_owned()),
        Err(_) => Err("the database did not answer in time".to_owned()),
    }
}

/// An error with its sources.
fn reason(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    reason
}
