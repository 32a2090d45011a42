//! Sessions as the gate sees them, and the log that ends them.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Email, Permission, PermissionSet, Role, SessionId, UserId};

/// What the gate must know of a live session. Holds no secret.
#[derive(Debug)]
pub struct SessionState {
    /// The session.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// The role in force now.
    pub role: Role,
    /// What the role and the user's own grants allow now.
    pub permissions: Arc<PermissionSet>,
    /// The account's address, for the identity headers of upstreams.
    pub email: Email,
    /// Whether the address was confirmed.
    pub email_verified: bool,
    /// How the person proved who they are (RFC 8176), in order.
    pub amr: Arc<[String]>,
    /// When the person last signed in for this session, Unix seconds.
    pub authenticated_at: i64,
    /// Raised when the session ends. A stale copy carries a lower one.
    pub session_epoch: i64,
    /// Raised by every change to the user that caches must see.
    pub user_epoch: i64,
    /// Access tokens made in an earlier user epoch than this one are dead.
    pub token_epoch: i64,
    /// When the session ends whatever happens: the earlier of its idle and absolute limit, Unix seconds.
    pub expires_at: i64,
    /// Whether this is a demo session, which no table knows.
    pub demo: bool,
    /// Set when this is no sign-in but an API key: what it may do of what its owner may.
    pub api_key: Option<ApiKeyScopes>,
    /// When a request last used it, Unix seconds; written to SQL in batches.
    pub last_seen: AtomicI64,
}

/// What an API key may do of what its owner may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeyScopes {
    /// Everything.
    All,
    /// Only these permissions, and nothing that asks for a role.
    Only(Arc<[Permission]>),
}

impl SessionState {
    /// Whether somebody signed in to it, which an API key does not.
    pub fn is_signed_in(&self) -> bool {
        self.api_key.is_none()
    }

    /// The role that counts: a key that is held to scopes has none.
    pub fn role_in_force(&self) -> Option<Role> {
        (!matches!(self.api_key, Some(ApiKeyScopes::Only(_)))).then_some(self.role)
    }

    /// Whether an access token made in epoch `ver` may use this session at `now` (Unix seconds).
    pub fn admits(&self, ver: i64, now: i64) -> bool {
        ver >= self.token_epoch && ver <= self.user_epoch && now < self.expires_at
    }

    /// Notes a use of the session.
    pub fn touch(&self, now: i64) {
        if self.last_seen.load(Ordering::Relaxed) < now {
            self.last_seen.store(now, Ordering::Relaxed);
        }
    }
}

/// How a sign-in hands out its tokens (contract §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Transport {
    /// In the response's body.
    #[default]
    Token,
    /// In cookies.
    Cookie,
}

impl Transport {
    /// The name used in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Cookie => "cookie",
        }
    }
}

/// The text is not one of the two transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transport is token or cookie")]
pub struct UnknownTransport;

impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "token" => Ok(Self::Token),
            "cookie" => Ok(Self::Cookie),
            _ => Err(UnknownTransport),
        }
    }
}

/// SQL cannot be reached and the session is not known well enough to go on without it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the session store cannot be reached")]
pub struct SessionsUnavailable;

/// Where the gate looks sessions up.
pub trait SessionSource: Send + Sync + 'static {
    /// Whether every revocation of more than a moment ago is known here. A source that cannot fall behind always is.
    fn is_current(&self) -> bool {
        true
    }

    /// The session if this process already holds it: no I/O, no waiting.
    /// `None` means unknown here, not ended.
    fn cached(&self, id: SessionId) -> Option<Arc<SessionState>>;

    /// The session from wherever it is kept; `None` when it has ended or never was. A copy of an earlier user epoch
    /// than `user_epoch`, that of the token presented, is stale and not given while a younger one can be had.
    fn load(
        &self,
        id: SessionId,
        user_epoch: i64,
    ) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>>;

    /// The API key with this SHA-256, if this process already holds it. A source without keys knows none.
    fn cached_key(&self, _digest: &[u8; 32]) -> Option<Arc<SessionState>> {
        None
    }

    /// The API key with this SHA-256 from wherever it is kept; `None` when it was revoked or never was.
    fn load_key(&self, _digest: [u8; 32]) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// One entry of the revocation log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whom it concerns.
    pub user_id: UserId,
    /// The session that ended, or `None` when the user changed and all copies of
    /// all their sessions are stale.
    pub session_id: Option<SessionId>,
    /// The epoch after the change: of the session if there is one, else of the user.
    pub epoch: i64,
    /// Whether the session, or every session of the user, has ended, so that its
    /// streams must close; `false` when copies are merely stale.
    pub ends: bool,
}

/// Told of every revocation, as soon as this process knows of it, possibly more than once.
pub trait RevocationListener: Send + Sync + 'static {
    /// Applies it. Must not block.
    fn revoked(&self, revocation: &Revocation);
}
