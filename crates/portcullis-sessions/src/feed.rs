//! The revocation feed: reads the revocation log, so that this replica learns what the others have revoked.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use portcullis_storage::{LogPosition, LogReading, Store, StoreError};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::cache::SessionCache;

/// The period between two readings: a logout reaches every replica within a second (SR-22).
const PERIOD: Duration = Duration::from_millis(500);
/// Notifications that arrive within this time cause one reading.
const NOTIFICATION_PAUSE: Duration = Duration::from_millis(5);
/// A page that takes longer than this is cancelled and asked for again.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the revocation log for a [`SessionCache`], on a database connection of its own.
pub struct RevocationFeed {
    cache: Arc<SessionCache>,
    store: Store,
    progress: Mutex<Progress>,
    /// Signalled when another replica has appended to the log.
    appended: Notify,
}

/// How far the log was read.
#[derive(Default)]
enum Progress {
    /// Nothing was read.
    #[default]
    None,
    /// Nothing that was read counts any more.
    Lost,
    /// Everything before this position was read.
    Read(LogPosition),
}

/// Whether a page was the last one.
#[derive(PartialEq, Eq)]
enum Page {
    Last,
    Further,
}

impl RevocationFeed {
    /// A feed that has read nothing yet.
    pub fn new(store: &Store, cache: &Arc<SessionCache>) -> Arc<Self> {
        Arc::new(Self {
            cache: Arc::clone(cache),
            store: store.clone(),
            progress: Mutex::default(),
            appended: Notify::new(),
        })
    }

    /// Reads the log once and tells every listener of the store what is new to it.
    pub async fn read(&self) -> Result<(), StoreError> {
        while self.read_page().await? == Page::Further {}
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
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.appended.notified() => {}
            }
            let outcome = loop {
                match bounded(self.read_page()).await {
                    Ok(Page::Further) => {}
                    Ok(Page::Last) => break Ok(()),
                    Err(reason) => break Err(reason),
                }
            };
            match outcome {
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
            tokio::time::sleep(NOTIFICATION_PAUSE).await;
        }
    }

    /// Reads one page of the log. What was read is kept in `progress`, so that a later page that fails does not undo it.
    async fn read_page(&self) -> Result<Page, StoreError> {
        let mut progress = self.progress.lock().await;
        let position = match &*progress {
            Progress::Read(position) => position.clone(),
            Progress::None => self.begin(self.store.feed_end().await?),
            // Entries that nobody was told of may be anywhere in the log.
            Progress::Lost => self.begin(self.store.feed_start().await?),
        };
        *progress = Progress::Read(position.clone());
        match self.store.read_revocations(&position).await? {
            LogReading::More(to) => *progress = Progress::Read(to),
            LogReading::Lost => *progress = Progress::Lost,
            LogReading::Complete { position: to, begun } => {
                self.cache.feed_was_read(begun, to.now());
                *progress = Progress::Read(to);
                return Ok(Page::Last);
            }
        }
        Ok(Page::Further)
    }

    /// Begins at this position, which was just taken: what was cached before may lack revocations that no reading returns.
    fn begin(&self, position: LogPosition) -> LogPosition {
        self.cache.begin_feed();
        // Last, so that what this process revokes meanwhile is told to the cache after its beginning, or read.
        self.store.forget_announced();
        position
    }
}

/// Awaits a page within [`PAGE_TIMEOUT`], and turns a panic into a failure. The error is the reason in words.
async fn bounded<T>(reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, String> {
    match tokio::time::timeout(PAGE_TIMEOUT, AssertUnwindSafe(reading).catch_unwind()).await {
        Ok(Ok(Ok(read))) => Ok(read),
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
