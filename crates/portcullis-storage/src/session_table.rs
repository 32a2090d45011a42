//! Sessions held in this process, so that a request whose session is known costs no statement.
//!
//! What keeps the copies true: revocations made here are applied before their
//! commit returns; others' arrive by the feed within half a second
//! (`session_feed.rs`); a copy that was read before a revocation is never put
//! away after it; and a copy is read again after ten minutes whatever happens.
//! While the feed is not read, copies are used for `stale_max` and then no more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moka::sync::Cache;
use portcullis_model::{
    Revocation, RevocationListener, RolePermissions, SessionCopy, SessionId, SessionSource, SessionState,
    SessionsUnavailable, SharedSessions,
};
use portcullis_telemetry::{CacheType, Metrics};

use crate::session_account::HeldAccount;
use crate::session_feed::Feed;
use crate::session_floors::Floors;
use crate::session_loading::Loading;
use crate::session_shared::SharedLevel;
use crate::store::Store;

/// Readings of one session that a revocation overtook, before the attempt is given up.
const ATTEMPTS: usize = 5;

/// How long ago the feed was read at most, for the table to count as current: a few of its readings.
const CURRENT: Duration = Duration::from_secs(2);

/// How a [`SessionTable`] behaves.
#[derive(Clone)]
pub struct SessionTableOptions {
    /// The most copies held; the least recently used give way.
    pub capacity: u64,
    /// How long copies stay in use while the feed cannot be read (`session.stale_max`).
    pub stale_max: Duration,
    /// Copies that replicas share, asked before SQL.
    pub shared: Option<Arc<dyn SharedSessions>>,
    /// How long lines of the audit log are kept; `None` for ever.
    pub audit_kept: Option<Duration>,
}

impl Default for SessionTableOptions {
    fn default() -> Self {
        Self { capacity: 100_000, stale_max: Duration::from_secs(300), shared: None, audit_kept: None }
    }
}

/// The table of sessions.
pub struct SessionTable {
    pub(crate) store: Store,
    pub(crate) feed: Feed,
    pub(crate) copies: Cache<SessionId, Arc<HeldCopy>>,
    pub(crate) shared: Option<SharedLevel>,
    /// Ids of API keys by their SHA-256.
    keys: Cache<[u8; 32], SessionId>,
    pub(crate) audit_kept: Option<Duration>,
    loading: Loading,
    stale_max: Duration,
    roles: ArcSwap<RolePermissions>,
    floors: Mutex<Floors>,
    /// Sessions that the database does not know; they live until they expire or are removed.
    demo: ArcSwap<HashMap<SessionId, Arc<SessionState>>>,
    metrics: Metrics,
    count_hit: Box<dyn Fn() + Send + Sync>,
}

/// A session as it was read.
pub(crate) struct HeldCopy {
    pub(crate) state: Arc<SessionState>,
    /// The account's row, once somebody asked for it. Goes with the copy, which every change of the account ends.
    pub(crate) account: ArcSwapOption<HeldAccount>,
    /// The `last_seen` that is in the database.
    pub(crate) flushed: AtomicI64,
    pub(crate) read_at: Instant,
    /// The lowest user epoch that is not stale, shared by all copies of one user's sessions.
    user_floor: Arc<AtomicI64>,
}

/// What became of a copy that was to be put away.
enum Kept {
    Fresh(Arc<SessionState>),
    /// A revocation has overtaken it.
    Stale,
}

impl SessionTable {
    /// An empty table that hears of revocations. It holds nothing until its feed is read, see [`follow`](Self::follow).
    pub fn new(store: &Store, roles: RolePermissions, options: SessionTableOptions) -> Arc<Self> {
        let metrics = store.metrics().clone();
        let hits = metrics.cache_hit_counter(CacheType::memory);
        let table = Arc::new(Self {
            store: store.clone(),
            feed: Feed::default(),
            copies: Cache::new(options.capacity),
            shared: options.shared.map(SharedLevel::new),
            keys: Cache::new(options.capacity),
            audit_kept: options.audit_kept,
            loading: Loading::default(),
            stale_max: options.stale_max,
            roles: ArcSwap::from_pointee(roles),
            floors: Mutex::default(),
            demo: ArcSwap::default(),
            metrics: metrics.clone(),
            count_hit: Box::new(move || {
                hits.inc();
            }),
        });
        store.subscribe(&table);
        let watched = Arc::downgrade(&table);
        let age =
            move || watched.upgrade().and_then(|table| table.feed_age()).map_or(f64::NAN, |age| age.as_secs_f64());
        metrics.gauge_fn("revocation_feed_age_seconds", "Time since the revocation log was last read.", Box::new(age));
        table
    }

    /// What each role holds now.
    pub fn roles(&self) -> Arc<RolePermissions> {
        self.roles.load_full()
    }

    /// Changes what roles hold, in force at once: every copy is dropped.
    pub fn set_roles(&self, roles: RolePermissions) {
        let roles = Arc::new(roles);
        // Under the lock of `keep`, so that no copy with the old roles is put away after this.
        let _floors = self.floors();
        self.roles.store(Arc::clone(&roles));
        self.copies.invalidate_all();
        self.demo.rcu(|demo| {
            demo.iter().map(|(id, state)| (*id, Arc::new(with_roles(state, &roles)))).collect::<HashMap<_, _>>()
        });
    }

    /// Holds a demo session, of which the database knows nothing, until it expires or is removed.
    pub fn insert_demo(&self, state: SessionState) {
        let state = Arc::new(state);
        let now = self.store.clock().unix_seconds();
        self.demo.rcu(|demo| {
            let mut demo = HashMap::clone(demo);
            demo.retain(|_, other| now < other.expires_at);
            demo.insert(state.id, Arc::clone(&state));
            demo
        });
    }

    /// Ends a demo session and tells the listeners; `false` when there is none.
    pub fn remove_demo(&self, id: SessionId) -> bool {
        let before = self.demo.rcu(|demo| {
            let mut demo = HashMap::clone(demo);
            demo.remove(&id);
            demo
        });
        let Some(state) = before.get(&id) else { return false };
        let ended = Revocation {
            user_id: state.user_id,
            session_id: Some(id),
            epoch: state.session_epoch.saturating_add(1),
            ends: true,
        };
        self.store.announce(ended);
        true
    }

    /// How long ago the feed was last read; `None` when never.
    pub fn feed_age(&self) -> Option<Duration> {
        self.feed.age()
    }

    /// Whether copies may be used and made.
    fn is_fed(&self) -> bool {
        self.feed.age().is_some_and(|age| age <= self.stale_max)
    }

    /// A copy that is good now.
    fn copy(&self, id: SessionId) -> Option<Arc<SessionState>> {
        self.held(id).map(|copy| Arc::clone(&copy.state))
    }

    pub(crate) fn held(&self, id: SessionId) -> Option<Arc<HeldCopy>> {
        if !self.is_fed() {
            return None;
        }
        let copy = self.copies.get(&id)?;
        let fresh = copy.state.user_epoch >= copy.user_floor.load(Ordering::Acquire)
            && self.store.clock().unix_seconds() < copy.state.expires_at;
        fresh.then_some(copy)
    }

    /// The session of at least this user epoch, from replicas' shared copies, else from SQL.
    async fn read(&self, id: SessionId, user_epoch: i64) -> Result<Option<Arc<SessionState>>, SessionsUnavailable> {
        if let Some(state) = self.read_shared(id, user_epoch).await {
            return Ok(Some(state));
        }
        for _ in 0..ATTEMPTS {
            let fed = self.is_fed();
            let roles = self.roles.load_full();
            let read = self.store.session_copy(id).await.map_err(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "a session cannot be looked up");
                SessionsUnavailable
            })?;
            let Some(copy) = read.filter(|copy| self.is_live(copy)) else {
                self.copies.invalidate(&id);
                return Ok(None);
            };
            let offered = self.shared.as_ref().filter(|_| fed).map(|shared| (shared, copy.clone()));
            if let Kept::Fresh(state) = self.keep(copy.into_state(&roles), &roles, fed) {
                if let Some((shared, copy)) = offered {
                    shared.offer(copy);
                }
                return Ok(Some(state));
            }
        }
        Err(SessionsUnavailable)
    }

    /// The API key from SQL: replicas do not share copies of keys.
    async fn read_key(&self, digest: [u8; 32]) -> Result<Option<Arc<SessionState>>, SessionsUnavailable> {
        for _ in 0..ATTEMPTS {
            let fed = self.is_fed();
            let roles = self.roles.load_full();
            let read = self.store.api_key_copy(&digest).await.map_err(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "an API key cannot be looked up");
                SessionsUnavailable
            })?;
            let Some(copy) = read.filter(|copy| self.is_live(copy)) else {
                self.keys.invalidate(&digest);
                return Ok(None);
            };
            let id = copy.id;
            if let Kept::Fresh(state) = self.keep(copy.into_state(&roles), &roles, fed) {
                self.keys.insert(digest, id);
                return Ok(Some(state));
            }
        }
        Err(SessionsUnavailable)
    }

    /// A shared copy, held against the floors known here. Only while the feed is read, because a copy may be
    /// believed only as far as revocations are heard.
    async fn read_shared(&self, id: SessionId, user_epoch: i64) -> Option<Arc<SessionState>> {
        let shared = self.shared.as_ref().filter(|_| self.is_fed())?;
        let roles = self.roles.load_full();
        let copy = shared.fetch(id, user_epoch).await.filter(|copy| self.is_live(copy))?;
        match self.keep(copy.into_state(&roles), &roles, true) {
            Kept::Fresh(state) => Some(state),
            Kept::Stale => None,
        }
    }

    fn is_live(&self, copy: &SessionCopy) -> bool {
        self.store.clock().unix_seconds() < copy.expires_at
    }

    /// Puts a copy away, unless a revocation or a change of roles has come since it was read. One that was read
    /// while the feed was not (`fed`) may have missed an entry, and is used this once only.
    fn keep(&self, state: SessionState, roles: &Arc<RolePermissions>, fed: bool) -> Kept {
        let mut floors = self.floors();
        if floors.stale(&state) || !Arc::ptr_eq(roles, &self.roles.load()) {
            return Kept::Stale;
        }
        let state = Arc::new(state);
        if fed {
            let flushed = state.last_seen.load(Ordering::Relaxed);
            if let Some(earlier) = self.copies.get(&state.id) {
                state.touch(earlier.state.last_seen.load(Ordering::Relaxed));
            }
            let copy = HeldCopy {
                state: Arc::clone(&state),
                account: ArcSwapOption::empty(),
                flushed: AtomicI64::new(flushed),
                read_at: Instant::now(),
                user_floor: floors.cell(state.user_id),
            };
            self.copies.insert(state.id, Arc::new(copy));
        }
        Kept::Fresh(state)
    }

    /// Drops copies read longer ago than `life`.
    pub(crate) fn sweep(&self, life: Duration) {
        for (id, copy) in &self.copies {
            if copy.read_at.elapsed() > life {
                self.copies.invalidate(&*id);
            }
        }
        self.floors().sweep();
    }

    fn floors(&self) -> MutexGuard<'_, Floors> {
        self.floors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionSource for SessionTable {
    fn is_current(&self) -> bool {
        self.feed_age().is_some_and(|age| age <= CURRENT)
    }

    fn cached(&self, id: SessionId) -> Option<Arc<SessionState>> {
        let found = self.demo.load().get(&id).map(Arc::clone).or_else(|| self.copy(id));
        match found {
            Some(_) => (self.count_hit)(),
            None => self.metrics.cache_miss(CacheType::memory),
        }
        found
    }

    /// Never answers with a copy held here, so that a caller who doubts one gets a younger.
    fn load(
        &self,
        id: SessionId,
        user_epoch: i64,
    ) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        if let Some(state) = self.demo.load().get(&id) {
            return std::future::ready(Ok(Some(Arc::clone(state)))).boxed();
        }
        self.loading.once((id, user_epoch), self.read(id, user_epoch)).boxed()
    }

    fn cached_key(&self, digest: &[u8; 32]) -> Option<Arc<SessionState>> {
        let found = self.keys.get(digest).and_then(|id| self.copy(id));
        match found {
            Some(_) => (self.count_hit)(),
            None => self.metrics.cache_miss(CacheType::memory),
        }
        found
    }

    fn load_key(&self, digest: [u8; 32]) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        self.read_key(digest).boxed()
    }
}

impl RevocationListener for SessionTable {
    fn revoked(&self, revocation: &Revocation) {
        if let Some(shared) = &self.shared {
            shared.heard(revocation);
        }
        let mut floors = self.floors();
        floors.raise(revocation);
        let Some(id) = revocation.session_id else { return };
        if self.copies.get(&id).is_some_and(|copy| copy.state.session_epoch < revocation.epoch) {
            self.copies.invalidate(&id);
        }
    }
}

/// The same session with what its role holds now.
fn with_roles(state: &SessionState, roles: &RolePermissions) -> SessionState {
    SessionState {
        permissions: Arc::clone(roles.of(state.role)),
        email: state.email.clone(),
        amr: Arc::clone(&state.amr),
        api_key: state.api_key.clone(),
        last_seen: AtomicI64::new(state.last_seen.load(Ordering::Relaxed)),
        ..*state
    }
}

#[cfg(test)]
mod tests;
