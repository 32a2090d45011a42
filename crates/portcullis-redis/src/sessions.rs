//! The copies of sessions that replicas share.
//!
//! Redis is not trusted. Each copy carries a message authentication code over its name, its content and the time at which
//! the database read it, and is refused when it is older than five minutes. Whether a revocation has made it stale is
//! decided by the caller, who knows the revocation log.

use std::sync::Arc;
use std::time::Duration;

use fred::interfaces::KeysInterface;
use fred::types::Expiration;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_model::{
    Amr, Clock, Email, Permission, Role, SecretRing, SessionCopy, SessionId, SharedSessions, Timestamp, UserId,
};
use portcullis_telemetry::{CacheType, Metrics, RequestScope};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::copy_mac::CopyMac;
use crate::link::Link;

/// The longest lifetime of a copy, counted from its reading in the database.
const COPY_LIFE: Duration = Duration::from_secs(300);
/// How far in the future the reading of a copy may lie, because a clock follows the database's only so exactly.
const TOLERANCE: Duration = Duration::from_secs(1);
/// The most copies that are stored at the same time. Further ones are not stored.
const OFFERS: usize = 64;
/// The version of a copy's form. A replica that writes another version ignores copies of this one.
const FORM: u8 = 2;

/// Reads and writes copies of sessions in Redis.
pub(crate) struct Sessions {
    link: Arc<Link>,
    clock: Clock,
    metrics: Metrics,
    mac: CopyMac,
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
    /// When the database read the session, in Unix microseconds.
    read: i64,
}

impl Sessions {
    pub(crate) fn new(link: Arc<Link>, clock: Clock, metrics: Metrics, secrets: &SecretRing) -> Self {
        Self { link, clock, metrics, mac: CopyMac::new(secrets), offers: Arc::new(Semaphore::new(OFFERS)) }
    }

    /// Replaces the secrets that copies are authenticated with.
    pub(crate) fn replace_secrets(&self, secrets: &SecretRing) {
        self.mac.replace(secrets);
    }

    // The braces put all keys of a session into one slot of a cluster.
    fn copy_key(&self, id: SessionId) -> String {
        format!("{}:session:{{{id}}}", self.link.prefix)
    }

    async fn read(&self, id: SessionId) -> Option<SessionCopy> {
        let (client, key) = (&self.link.client, self.copy_key(id));
        let signed = self.link.run("fetch", "GET session", client.get::<Option<String>, _>(&key)).await.ok()??;
        parse(id, self.mac.verify(&key, &signed)?).filter(|copy| self.remaining_life(copy.read_at).is_some())
    }

    /// How much longer a copy may be used that was read at this time; `None` if it is too old or from the future.
    fn remaining_life(&self, read_at: Timestamp) -> Option<Duration> {
        let now = self.clock.now();
        let age = (now + TOLERANCE).signed_duration_since(read_at).to_std().ok()?;
        (COPY_LIFE + TOLERANCE).checked_sub(age).filter(|left| !left.is_zero())
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
        let life = self.remaining_life(copy.read_at).unwrap_or_default().min(Duration::from_secs(left));
        if life.as_secs() == 0 || !self.link.is_available() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.offers).try_acquire_owned() else { return };
        let (link, key) = (Arc::clone(&self.link), self.copy_key(copy.id));
        let text = serde_json::to_string(&write(copy)).expect("texts and numbers have a JSON form");
        let text = self.mac.sign(&key, &text);
        tokio::spawn(RequestScope::current().wrap(async move {
            let expires = Some(Expiration::EX(i64::try_from(life.as_secs()).unwrap_or(i64::MAX)));
            let stored =
                link.run("offer", "SET session", link.client.set::<(), _, _>(key, text, expires, None, false)).await;
            drop((stored, permit));
        }));
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
        read: copy.read_at.timestamp_micros(),
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
        read_at: Timestamp::from_timestamp_micros(stored.read)?,
    })
}
