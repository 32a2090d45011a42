//! What replicas share beside SQL. All of it only makes things faster or limits
//! exact: SQL and its revocation log stay the truth, and every caller goes on
//! without when it is away.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::{
    ApiKeyScopes, Email, Permission, Rate, Revocation, Role, RolePermissions, SessionId, SessionState, UserId,
};

/// What replicas share cannot be reached at the moment; the caller goes on without it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("what replicas share cannot be reached")]
pub struct SharedUnavailable;

/// Rate limits that replicas count together (GCRA).
pub trait SharedLimits: Send + Sync + 'static {
    /// Counts one request of `subject` against `rate`. `subject` names the limit and whom it counts, the same on
    /// every replica.
    fn take<'a>(&'a self, subject: &'a str, rate: Rate) -> BoxFuture<'a, Result<GcraOutcome, SharedUnavailable>>;

    /// What [`take`](Self::take) would say, without counting.
    fn peek<'a>(&'a self, subject: &'a str, rate: Rate) -> BoxFuture<'a, Result<GcraOutcome, SharedUnavailable>>;

    /// Takes back one request that [`take`](Self::take) has counted: something else refused it.
    fn give_back<'a>(&'a self, subject: &'a str, rate: Rate) -> BoxFuture<'a, Result<(), SharedUnavailable>>;

    /// Forgets what a subject has spent.
    fn reset<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<(), SharedUnavailable>>;
}

/// How one request fared against a shared limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcraOutcome {
    /// How far the theoretical arrival time is ahead of now: after this request if it was admitted, else as it was.
    pub ahead: Duration,
    /// `None` when the request was admitted, else until the next one is.
    pub retry: Option<Duration>,
}

/// Copies of sessions that replicas share.
pub trait SharedSessions: Send + Sync + 'static {
    /// A copy that no revocation known there has overtaken. `None` when there is none, or it cannot be reached.
    fn fetch(&self, id: SessionId) -> BoxFuture<'_, Option<SessionCopy>>;

    /// Offers a copy that was just read from SQL. Does not wait, and may be lost.
    fn offer(&self, copy: SessionCopy);

    /// Makes every copy that these revocations overtake unusable. Idempotent; order does not matter.
    fn revoke<'a>(&'a self, entries: &'a [Revocation]) -> BoxFuture<'a, Result<(), SharedUnavailable>>;
}

/// Tells the other replicas that the revocation log has grown, so that they need not wait for their next reading.
pub trait ReplicaNotifier: Send + Sync + 'static {
    /// Sends the notice without waiting. It may be lost: every replica also reads the log at a fixed interval.
    fn notify(&self);
}

/// A session as replicas hand it to each other: no secret, and no permission that follows from the role, because
/// replicas may differ for a while in what roles hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCopy {
    /// The session.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// The account's role.
    pub role: Role,
    /// What the person may do beyond the role.
    pub extra_permissions: Vec<Permission>,
    /// The account's address.
    pub email: Email,
    /// Whether the address was confirmed.
    pub email_verified: bool,
    /// How the person proved who they are, in order.
    pub amr: Vec<String>,
    /// When the person last signed in for this session, Unix seconds.
    pub authenticated_at: i64,
    /// The session's epoch.
    pub session_epoch: i64,
    /// The user's epoch.
    pub user_epoch: i64,
    /// Access tokens of an earlier user epoch are dead.
    pub token_epoch: i64,
    /// When the session ends whatever happens, Unix seconds.
    pub expires_at: i64,
    /// When it was last used as far as SQL knows, Unix seconds.
    pub last_seen: i64,
    /// Set when it is an API key. Replicas do not share copies of those.
    pub api_key: Option<ApiKeyScopes>,
}

impl SessionCopy {
    /// The session as the gate needs it, with what its role holds now.
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
            demo: false,
            api_key: self.api_key,
            last_seen: AtomicI64::new(self.last_seen),
        }
    }
}
