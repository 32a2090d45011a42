//! The task beside the table of sessions: reads the revocation log, and does what falls due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portcullis_model::{SessionId, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::LogPosition;
use crate::error::StoreError;
use crate::session_shared::SHARED_LIFE;
use crate::session_table::SessionTable;

/// How often the log is read: a logout reaches every replica within a second (SR-22).
const PERIOD: Duration = Duration::from_millis(500);
/// News that come in a burst are read together.
const NEWS_PAUSE: Duration = Duration::from_millis(5);
/// How long one reading may take before it is given up and tried again.
const LIMIT: Duration = Duration::from_secs(5);
/// A log unread for longer than this may have lost entries to pruning, so nothing held can be trusted.
const GAP: Duration = Duration::from_secs(3_600);
/// For how long a sealed successor can be fetched, in database time (contract §3); then it is erased.
const GRACE: Duration = Duration::from_secs(10);
/// A copy is used for at most this long before it is read again, in case a revocation ever went astray.
const COPY_LIFE: Duration = Duration::from_secs(600);

/// Every how many readings a duty falls due.
const ERASE_EVERY: u64 = 10;
const FLUSH_EVERY: u64 = 120;
const PRUNE_EVERY: u64 = 7_200;

/// How far the revocation log was read, and when.
pub(crate) struct Feed {
    position: tokio::sync::Mutex<Option<LogPosition>>,
    made_at: Instant,
    /// Milliseconds from `made_at` to the last reading's beginning, plus one; 0 before the first.
    read_at: AtomicU64,
    /// Another replica says that there is news.
    news: Notify,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            position: tokio::sync::Mutex::default(),
            made_at: Instant::now(),
            read_at: AtomicU64::new(0),
            news: Notify::new(),
        }
    }
}

impl Feed {
    pub(crate) fn age(&self) -> Option<Duration> {
        let read_at = self.read_at.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.made_at.elapsed().saturating_sub(Duration::from_millis(read_at)))
    }

    fn note_reading(&self, begun: Instant) {
        let millis = u64::try_from(begun.duration_since(self.made_at).as_millis()).unwrap_or(u64::MAX - 1);
        self.read_at.store(millis + 1, Ordering::Release);
    }
}

impl SessionTable {
    /// Reads the log once: tells every listener of the store what it has not heard yet. Gives the database's time.
    pub async fn read_feed(&self) -> Result<Timestamp, StoreError> {
        let mut position = self.feed.position.lock().await;
        let begun = Instant::now();
        let from = match *position {
            Some(known) if self.feed.age().is_some_and(|age| age < GAP) => known,
            _ => {
                let end = self.store.feed_end().await?;
                self.copies.invalidate_all();
                // Shared copies may be older than this reading: what has overtaken them must be known first.
                let back = if self.shared.is_some() { SHARED_LIFE } else { Duration::ZERO };
                end.moved_back(back)
            }
        };
        let to = self.store.read_revocations(from).await?;
        *position = Some(to);
        self.feed.note_reading(begun);
        Ok(to.time())
    }

    /// Reads what is new in the log now instead of at the next reading: another replica says that there is news.
    pub fn news(&self) {
        self.feed.news.notify_one();
    }

    async fn read_news(&self) -> Result<(), StoreError> {
        let mut position = self.feed.position.lock().await;
        if let Some(known) = *position {
            *position = Some(self.store.read_new_revocations(known).await?);
        }
        Ok(())
    }

    /// Writes down when the sessions held here were last used, those that were used since the last time.
    pub async fn flush_last_seen(&self) -> Result<(), StoreError> {
        let mut seen: Vec<(SessionId, Timestamp)> = Vec::new();
        let mut keys: Vec<(SessionId, Timestamp)> = Vec::new();
        let mut flushed = Vec::new();
        for (id, copy) in &self.copies {
            let last = copy.state.last_seen.load(Ordering::Relaxed);
            if last > copy.flushed.load(Ordering::Relaxed)
                && let Some(at) = Timestamp::from_timestamp(last, 0)
            {
                if copy.state.api_key.is_none() {
                    seen.push((*id, at));
                } else {
                    keys.push((*id, at));
                }
                flushed.push((copy, last));
            }
        }
        self.store.touch_sessions(&seen).await?;
        self.store.touch_api_keys(&keys).await?;
        for (copy, last) in flushed {
            copy.flushed.fetch_max(last, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads the log twice a second, and when there is [`news`](Self::news), until cancelled. Beside it: passes on to
    /// shared copies what it hears, erases sealed successors, writes down when sessions were last used, drops old
    /// copies, prunes.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let deliver = async {
            if let Some(shared) = &self.shared {
                shared.deliver(&stop).await;
            }
        };
        tokio::join!(self.follow_log(&stop), deliver);
        if let Err(error) = self.flush_last_seen().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last uses of sessions were not written down");
        }
    }

    async fn follow_log(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0_u64;
        let mut failing = false;
        loop {
            let reading = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => true,
                () = self.feed.news.notified() => false,
            };
            if !reading {
                // A failure shows at the next reading, half a second from here at most.
                let _ = tokio::time::timeout(LIMIT, self.read_news()).await;
                tokio::time::sleep(NEWS_PAUSE).await;
                continue;
            }
            round += 1;
            let outcome = self.follow_once(round).await;
            match &outcome {
                Err(error) if !failing => {
                    tracing::warn!(error = error as &dyn std::error::Error, "the revocation log cannot be followed");
                }
                Ok(()) if failing => tracing::info!("the revocation log is followed again"),
                _ => {}
            }
            failing = outcome.is_err();
        }
    }

    async fn follow_once(&self, round: u64) -> Result<(), StoreError> {
        let read = tokio::time::timeout(LIMIT, self.read_feed()).await;
        let now = read.unwrap_or_else(|_| Err(StoreError::timed_out()))?;
        if round.is_multiple_of(ERASE_EVERY) {
            self.store.erase_grace_before(now - GRACE).await?;
        }
        if round.is_multiple_of(FLUSH_EVERY) {
            self.flush_last_seen().await?;
            self.sweep(COPY_LIFE);
            self.store.close_idle_connections();
        }
        if round.is_multiple_of(PRUNE_EVERY) {
            self.store.prune(now).await?;
            if let Some(kept) = self.audit_kept {
                self.store.prune_audit(now - kept).await?;
            }
        }
        Ok(())
    }
}
