//! The copies of sessions that replicas share, and their floors: the lowest epochs that are not stale.
//!
//! A copy is compared with its floors when it is read, not when it is stored, so that a stale copy that is stored late
//! does no harm. A floor lives longer than every copy that it applies to.

use std::sync::Arc;
use std::time::Duration;

use fred::interfaces::KeysInterface;
use fred::types::{Expiration, Value};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_model::{
    Amr, Clock, Email, Permission, Revocation, Role, SessionCopy, SessionId, SharedSessions, SharedUnavailable, UserId,
};
use portcullis_telemetry::{CacheType, Metrics, RequestScope};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::link::Link;
use crate::script::Script;

/// The longest lifetime of a copy.
const COPY_LIFE: Duration = Duration::from_secs(300);
/// The lifetime of a floor. It is longer than that of every copy that was read before the floor was raised.
const FLOOR_LIFE: Duration = Duration::from_secs(900);
/// The most copies that are stored at the same time. Further ones are not stored.
const OFFERS: usize = 64;
/// The most floors that are raised at the same time.
const RAISES: usize = 64;
/// The version of a copy's form. A replica that writes another version ignores copies of this one.
const FORM: u8 = 1;

/// Raises a floor, and never lowers it.
const RAISE: &str = "\
local known = redis.call('GET', KEYS[1])
if known and tonumber(known) >= tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1";

/// Reads and writes copies of sessions in Redis.
pub(crate) struct Sessions {
    link: Arc<Link>,
    clock: Clock,
    metrics: Metrics,
    raise: Script,
    offers: Arc<Semaphore>,
}

/// A copy as it is stored.
#[derive(Deserialize, Serialize)]
struct StoredCopy {
    form: u8,
    user: Uuid,
    role: String,
    extra: Vec<String>,
    email: String,
    verified: bool,
    amr: Vec<Amr>,
    authenticated: i64,
    session_epoch: i64,
    user_epoch: i64,
    token_epoch: i64,
    expires: i64,
    seen: i64,
}

impl Sessions {
    pub(crate) fn new(link: Arc<Link>, clock: Clock, metrics: Metrics) -> Self {
        Self { link, clock, metrics, raise: Script::new(RAISE), offers: Arc::new(Semaphore::new(OFFERS)) }
    }

    // The braces put a session's two keys into one slot of a cluster, so that one command reads both.
    fn copy_key(&self, id: SessionId) -> String {
        format!("{}:session:{{{id}}}", self.link.prefix)
    }

    fn session_floor_key(&self, id: SessionId) -> String {
        format!("{}:session:{{{id}}}:floor", self.link.prefix)
    }

    fn user_floor_key(&self, id: UserId) -> String {
        format!("{}:user:{{{id}}}:floor", self.link.prefix)
    }

    async fn read(&self, id: SessionId) -> Option<SessionCopy> {
        let client = &self.link.client;
        let keys = vec![self.copy_key(id), self.session_floor_key(id)];
        let read = self.link.run("fetch", client.mget::<(Option<String>, Option<i64>), _>(keys));
        let (text, session_floor) = read.await.ok()?;
        let copy = parse(id, &text?)?;
        if session_floor.is_some_and(|floor| copy.session_epoch < floor) {
            return None;
        }
        let key = self.user_floor_key(copy.user_id);
        let user_floor = self.link.run("fetch", client.get::<Option<i64>, _>(key)).await.ok()?;
        user_floor.is_none_or(|floor| copy.user_epoch >= floor).then_some(copy)
    }

    async fn revoke_one(&self, entry: &Revocation) -> Result<(), SharedUnavailable> {
        let key = match entry.session_id {
            Some(session) => self.session_floor_key(session),
            None => self.user_floor_key(entry.user_id),
        };
        let life = i64::try_from(FLOOR_LIFE.as_millis()).unwrap_or(i64::MAX);
        let values = vec![Value::from(entry.epoch), Value::from(life)];
        self.link.run("revoke", self.raise.run::<()>(&self.link.client, key, values)).await
    }
}

impl SharedSessions for Sessions {
    fn fetch(&self, id: SessionId) -> BoxFuture<'_, Option<SessionCopy>> {
        async move {
            let copy = self.read(id).await;
            match copy {
                Some(_) => self.metrics.cache_hit(CacheType::redis),
                None => self.metrics.cache_miss(CacheType::redis),
            }
            copy
        }
        .boxed()
    }

    fn offer(&self, copy: SessionCopy) {
        let left = u64::try_from(copy.expires_at - self.clock.unix_seconds()).unwrap_or(0);
        let life = COPY_LIFE.min(Duration::from_secs(left));
        if life.is_zero() || !self.link.is_available() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.offers).try_acquire_owned() else { return };
        let (link, key) = (Arc::clone(&self.link), self.copy_key(copy.id));
        tokio::spawn(RequestScope::current().wrap(async move {
            let text = serde_json::to_string(&write(copy)).expect("texts and numbers have a JSON form");
            let expires = Some(Expiration::EX(i64::try_from(life.as_secs()).unwrap_or(i64::MAX)));
            let stored = link.run("offer", link.client.set::<(), _, _>(key, text, expires, None, false)).await;
            drop((stored, permit));
        }));
    }

    fn revoke<'a>(&'a self, entries: &'a [Revocation]) -> BoxFuture<'a, Result<(), SharedUnavailable>> {
        async move {
            // Commands on one connection are sent together and answered in order: a batch takes about one round trip.
            for batch in entries.chunks(RAISES) {
                futures_util::future::try_join_all(batch.iter().map(|entry| self.revoke_one(entry))).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

fn write(copy: SessionCopy) -> StoredCopy {
    StoredCopy {
        form: FORM,
        user: copy.user_id.0,
        role: copy.role.to_string(),
        extra: copy.extra_permissions.iter().map(ToString::to_string).collect(),
        email: copy.email.to_string(),
        verified: copy.email_verified,
        amr: copy.amr,
        authenticated: copy.authenticated_at,
        session_epoch: copy.session_epoch,
        user_epoch: copy.user_epoch,
        token_epoch: copy.token_epoch,
        expires: copy.expires_at,
        seen: copy.last_seen,
    }
}

/// Reads a stored copy. `None` for everything that this version would not have stored.
fn parse(id: SessionId, text: &str) -> Option<SessionCopy> {
    let stored: StoredCopy = serde_json::from_str(text).ok()?;
    if stored.form != FORM {
        return None;
    }
    Some(SessionCopy {
        id,
        user_id: UserId(stored.user),
        role: stored.role.parse::<Role>().ok()?,
        extra_permissions: stored.extra.iter().map(|name| Permission::parse(name).ok()).collect::<Option<_>>()?,
        email: Email::from_stored(stored.email),
        email_verified: stored.verified,
        amr: stored.amr,
        authenticated_at: stored.authenticated,
        session_epoch: stored.session_epoch,
        user_epoch: stored.user_epoch,
        token_epoch: stored.token_epoch,
        expires_at: stored.expires,
        last_seen: stored.seen,
        api_key: None,
    })
}
