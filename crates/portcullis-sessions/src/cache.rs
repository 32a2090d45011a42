//! Sessions held in this process, so that a request whose session is known costs no statement.
//!
//! Four rules keep the copies true. A revocation made here is applied before its commit returns. A revocation made
//! elsewhere arrives by the feed within half a second. A copy that was read before a revocation is never cached after
//! it. A copy is read again after ten minutes in any case. While the feed cannot be read, copies stay in use for
//! `stale_max`, then no longer.

mod last_seen;
mod look_up;
mod user;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moka::sync::Cache;
use portcullis_model::{
    Revocation, RevocationListener, RolePermissions, SessionEnd, SessionId, SessionSource, SessionState,
    SessionsUnavailable, SharedSessions, Timestamp,
};
use portcullis_storage::Store;
use portcullis_telemetry::traces::{self, SpanKind};
use portcullis_telemetry::{CacheType, Metrics, ReadMetric};

use crate::cached_session::CachedSession;
use crate::epoch_floors::EpochFloors;
use crate::feed_age::FeedAge;
use crate::single_flight::{LookUp, SingleFlight};
use crate::unknown_keys::UnknownKeys;

/// The cache counts as current while the last reading of the feed is at most this long ago: a few of its periods.
const CURRENT: Duration = Duration::from_secs(2);
/// A copy is used for at most this long before it is read again, in case a revocation was ever lost.
const COPY_LIFETIME: Duration = Duration::from_secs(600);

/// Sizes and limits of a [`SessionCache`].
#[derive(Clone)]
pub struct SessionCacheOptions {
    /// The most copies held; the least recently used ones are evicted.
    pub capacity: u64,
    /// How long copies stay in use while the feed cannot be read (`session.stale_max`).
    pub stale_max: Duration,
    /// Copies that replicas share, asked before SQL and never trusted over it.
    pub shared: Option<Arc<dyn SharedSessions>>,
    /// Whether sessions and API keys of the demo account are accepted.
    pub demo_account: bool,
}

impl Default for SessionCacheOptions {
    fn default() -> Self {
        Self { capacity: 100_000, stale_max: Duration::from_secs(300), shared: None, demo_account: false }
    }
}

/// The session cache: what the gate asks on every request.
pub struct SessionCache {
    store: Store,
    feed_age: FeedAge,
    copies: Cache<SessionId, Arc<CachedSession>>,
    /// Ids of API keys by the SHA-256 of the key.
    keys: Cache<[u8; 32], SessionId>,
    /// The keys that were not found a moment ago.
    unknown_keys: UnknownKeys,
    shared: Option<Arc<dyn SharedSessions>>,
    /// Look-ups by session and the lowest user epoch that the caller accepts.
    look_ups: SingleFlight<(SessionId, i64)>,
    key_look_ups: SingleFlight<[u8; 32]>,
    stale_max: Duration,
    demo_account: bool,
    roles: ArcSwap<RolePermissions>,
    floors: Mutex<EpochFloors>,
    metrics: Metrics,
    count_hit: Box<dyn Fn() + Send + Sync>,
}

impl SessionCache {
    /// An empty cache that listens to the store's revocations. It holds nothing until a
    /// [`RevocationFeed`](crate::RevocationFeed) has read the log.
    pub fn new(store: &Store, roles: RolePermissions, options: SessionCacheOptions) -> Arc<Self> {
        let metrics = store.metrics().clone();
        let hits = metrics.cache_hit_counter(CacheType::memory);
        let cache = Arc::new(Self {
            store: store.clone(),
            feed_age: FeedAge::default(),
            copies: Cache::new(options.capacity),
            keys: Cache::new(options.capacity),
            unknown_keys: UnknownKeys::default(),
            shared: options.shared,
            look_ups: SingleFlight::default(),
            key_look_ups: SingleFlight::default(),
            stale_max: options.stale_max,
            roles: ArcSwap::from_pointee(roles),
            floors: Mutex::default(),
            demo_account: options.demo_account,
            metrics: metrics.clone(),
            count_hit: Box::new(move || {
                hits.inc();
            }),
        });
        store.subscribe(&cache);
        let watched = Arc::downgrade(&cache);
        let age = move || Some(watched.upgrade()?.feed_age()?.as_secs_f64());
        metrics.read_value(ReadMetric::RevocationFeedAge, age);
        cache
    }

    /// The permissions of each role that are in force now.
    pub fn roles(&self) -> Arc<RolePermissions> {
        self.roles.load_full()
    }

    /// Changes the permissions of roles, in force at once: every copy is dropped.
    pub fn set_roles(&self, roles: RolePermissions) {
        let roles = Arc::new(roles);
        // Under the lock that `insert` takes, so that no copy with the old roles is cached after this.
        let _floors = self.floors();
        self.roles.store(Arc::clone(&roles));
        self.copies.invalidate_all();
    }

    /// The time since the feed was last read; `None` before the first reading.
    pub fn feed_age(&self) -> Option<Duration> {
        self.feed_age.get()
    }

    /// Drops copies that were read longer than ten minutes ago, and says how many.
    pub fn drop_old_copies(&self) -> u64 {
        self.drop_copies_older_than(COPY_LIFETIME)
    }

    fn drop_copies_older_than(&self, age: Duration) -> u64 {
        let mut dropped = 0;
        for (id, copy) in &self.copies {
            if copy.age() > age {
                self.copies.invalidate(&*id);
                dropped += 1;
            }
        }
        self.floors().sweep();
        dropped
    }

    /// Prepares for a feed that does not continue an earlier one, and was just told the log's end: drops every copy, and
    /// lets no copy be cached whose reading has begun, because entries may have been missed.
    pub(crate) fn begin_feed(&self) {
        let mut floors = self.floors();
        floors.begin();
        self.copies.invalidate_all();
    }

    /// Records a reading of the log that began at `begun` and succeeded, and in which the database's time was `now`.
    pub(crate) fn feed_was_read(&self, begun: Instant, now: Timestamp) {
        self.feed_age.record(begun, now);
    }

    /// Whether copies may be used and made.
    fn is_fed(&self) -> bool {
        self.feed_age().is_some_and(|age| age <= self.stale_max)
    }

    /// A copy that can be used now.
    fn fresh_copy(&self, id: SessionId) -> Option<Arc<CachedSession>> {
        if !self.is_fed() {
            return None;
        }
        self.copies.get(&id).filter(|copy| copy.is_fresh(self.store.clock().unix_seconds()))
    }

    fn state(&self, id: SessionId) -> Option<Arc<SessionState>> {
        self.fresh_copy(id).map(|copy| Arc::clone(&copy.state))
    }

    fn count_lookup(&self, found: Option<Arc<SessionState>>) -> Option<Arc<SessionState>> {
        match found {
            Some(_) => (self.count_hit)(),
            None => self.metrics.cache_miss(CacheType::memory),
        }
        found
    }

    fn floors(&self) -> MutexGuard<'_, EpochFloors> {
        self.floors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionSource for SessionCache {
    fn is_current(&self) -> bool {
        self.feed_age().is_some_and(|age| age <= CURRENT)
    }

    fn cached(&self, id: SessionId) -> Option<Arc<SessionState>> {
        self.count_lookup(self.state(id))
    }

    /// Never returns a cached copy, so that a caller who doubts one gets a more recent one.
    fn load(
        &self,
        id: SessionId,
        user_epoch: i64,
    ) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        recorded("session look-up", self.look_ups.run((id, user_epoch), self.look_up(id, user_epoch)).boxed()).boxed()
    }

    fn end_of(&self, id: SessionId) -> BoxFuture<'_, Option<SessionEnd>> {
        async move {
            let record = self.store.session_record(id).await.ok()??;
            Some(match (record.ended_at, record.expires_at()) {
                (Some(at), _) => SessionEnd::Ended { at, reason: record.end_reason },
                (None, at) if at <= self.store.clock().now() => SessionEnd::Expired { at },
                (None, _) => SessionEnd::WithItsUser,
            })
        }
        .boxed()
    }

    fn cached_key(&self, digest: &[u8; 32]) -> Option<Arc<SessionState>> {
        self.count_lookup(self.keys.get(digest).and_then(|id| self.state(id)))
    }

    fn load_key(&self, digest: [u8; 32]) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        if self.unknown_keys.contains(&digest, self.store.clock()) {
            return std::future::ready(Ok(None)).boxed();
        }
        recorded("API key look-up", self.key_look_ups.run(digest, self.look_up_key(digest)).boxed()).boxed()
    }
}

/// Records a look-up as a span. Its children are the statements and commands that it takes; one without children waits for
/// the same look-up of another request.
async fn recorded(name: &'static str, look_up: BoxFuture<'_, LookUp>) -> LookUp {
    let (found, span) = traces::within(traces::span(name, SpanKind::Internal), look_up).await;
    if let (Err(SessionsUnavailable), Some(mut span)) = (&found, span) {
        span.fail("unavailable");
    }
    found
}

impl RevocationListener for SessionCache {
    fn revoked(&self, revocation: &Revocation) {
        // A raised floor makes every copy of the user's sessions stale (`CachedSession::is_fresh`); only a single session is
        // removed by its id.
        let mut floors = self.floors();
        floors.raise(revocation);
        let Some(id) = revocation.session_id else { return };
        if self.copies.get(&id).is_some_and(|copy| copy.state.session_epoch < revocation.epoch) {
            self.copies.invalidate(&id);
        }
    }
}

#[cfg(test)]
mod tests;
