//! What replicas share besides the database. It makes look-ups faster and rate limits exact. The database and its
//! revocation log remain the source of truth, and every caller goes on without the shared part when it is away.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::{
    Amr, ApiKeyScopes, Email, Permission, Rate, Role, RolePermissions, SessionId, SessionState, Timestamp, UserId,
};

/// The shared part cannot be reached at the moment. The caller goes on without it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the store that replicas share cannot be reached")]
pub struct SharedUnavailable;

/// Rate limits that replicas count together (GCRA).
pub trait SharedLimits: Send + Sync + 'static {
    /// Counts one request against `rate`. `key` names the limit and what it counts by, the same on every replica.
    fn take<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, Result<GcraOutcome, SharedUnavailable>>;

    /// Returns what [`take`](Self::take) would return, and counts nothing.
    fn peek<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, Result<GcraOutcome, SharedUnavailable>>;

    /// Takes back one request that [`take`](Self::take) has counted, because another limit refused it.
    fn refund<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, Result<(), SharedUnavailable>>;

    /// Forgets the requests that were counted for a key.
    fn reset<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), SharedUnavailable>>;
}

/// The outcome of one request against a rate limit (GCRA).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcraOutcome {
    /// The time by which the theoretical arrival time is ahead of now: with this request if it was admitted, else without.
    pub ahead: Duration,
    /// The time until a request is admitted again; `None` if this one was admitted.
    pub retry: Option<Duration>,
}

/// The copies of sessions that replicas share.
pub trait SharedSessions: Send + Sync + 'static {
    /// Returns a copy that a replica made of this session a short time ago. A revocation may have made it stale since:
    /// the caller decides. `None` also if it cannot be reached.
    fn fetch(&self, id: SessionId) -> BoxFuture<'_, Option<SessionCopy>>;

    /// Offers a copy that was just read from the database. It does not wait, and the copy may be lost.
    fn offer(&self, copy: SessionCopy);
}

/// Tells the other replicas that the revocation log has grown, so that they need not wait for their next reading.
pub trait ReplicaNotifier: Send + Sync + 'static {
    /// Sends the notice without waiting. It may be lost: every replica also reads the log at a fixed interval.
    fn notify(&self);
}

/// A session as replicas share it. It has no secret. It has no permission that follows from the role either, because
/// replicas may have different settings for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCopy {
    /// The id of the session.
    pub id: SessionId,
    /// The user that it belongs to.
    pub user_id: UserId,
    /// The user's role.
    pub role: Role,
    /// The permissions that the user has besides those of the role.
    pub extra_permissions: Vec<Permission>,
    /// The user's e-mail address.
    pub email: Email,
    /// Whether the e-mail address is confirmed.
    pub email_verified: bool,
    /// The authentication methods of the sign-in (`amr`, RFC 8176), in their order.
    pub amr: Vec<Amr>,
    /// The latest sign-in for this session, in Unix seconds.
    pub authenticated_at: i64,
    /// The session's epoch, which rises when the session ends.
    pub session_epoch: i64,
    /// The user's epoch, which rises with every change that caches must see.
    pub user_epoch: i64,
    /// The lowest user epoch whose access tokens are still valid.
    pub token_epoch: i64,
    /// The end of the session, in Unix seconds.
    pub expires_at: i64,
    /// The latest use that the database knows of, in Unix seconds.
    pub last_seen: i64,
    /// The scopes of the API key, if this is a key. Replicas do not share copies of keys.
    pub api_key: Option<ApiKeyScopes>,
    /// The database's time just before it read the session: the copy lacks no change that was committed before.
    pub read_at: Timestamp,
}

impl SessionCopy {
    /// The session as the gate needs it, with the permissions that its role has now.
    pub fn into_state(self, roles: &RolePermissions) -> SessionState {
        let of_role = roles.of(self.role);
        let permissions = match &self.api_key {
            Some(ApiKeyScopes::Only(scopes)) => {
                let held = |scope: &&Permission| of_role.contains(*scope) || self.extra_permissions.contains(*scope);
                Arc::new(scopes.iter().filter(held).cloned().collect())
            }
            _ if self.extra_permissions.is_empty() => Arc::clone(of_role),
            _ => Arc::new(of_role.iter().cloned().chain(self.extra_permissions).collect()),
        };
        SessionState {
            id: self.id,
            user_id: self.user_id,
            role: self.role,
            permissions,
            email: self.email,
            email_verified: self.email_verified,
            amr: self.amr.into(),
            authenticated_at: self.authenticated_at,
            session_epoch: self.session_epoch,
            user_epoch: self.user_epoch,
            token_epoch: self.token_epoch,
            expires_at: self.expires_at,
            api_key: self.api_key,
            last_seen: AtomicI64::new(self.last_seen),
        }
    }
}
