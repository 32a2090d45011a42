//! Sessions as the gate sees them, and the revocation log, which ends them.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::{Amr, Email, Permission, PermissionSet, Role, SessionId, Timestamp, UserId};

/// The state of a live session, or of an API key, that the gate decides by. It holds no secret.
#[derive(Debug)]
pub struct SessionState {
    /// The id of the session or of the API key.
    pub id: SessionId,
    /// The user that it belongs to.
    pub user_id: UserId,
    /// The user's role now.
    pub role: Role,
    /// The permissions that the role and the user's own grants give now.
    pub permissions: Arc<PermissionSet>,
    /// The user's e-mail address, for the identity headers that upstreams get.
    pub email: Email,
    /// Whether the e-mail address is confirmed.
    pub email_verified: bool,
    /// The authentication methods of the sign-in (`amr`, RFC 8176), in their order.
    pub amr: Arc<[Amr]>,
    /// The latest sign-in for this session, in Unix seconds.
    pub authenticated_at: i64,
    /// The session's epoch. It rises when the session ends, so that a stale copy has a lower one.
    pub session_epoch: i64,
    /// The user's epoch. It rises with every change of the user that caches must see.
    pub user_epoch: i64,
    /// The lowest user epoch whose access tokens are still valid.
    pub token_epoch: i64,
    /// The end of the session: the earlier of its idle timeout and its absolute limit, in Unix seconds.
    pub expires_at: i64,
    /// The scopes of the API key, if this is a key and not a session.
    pub api_key: Option<ApiKeyScopes>,
    /// The latest use by a request, in Unix seconds. It is written to SQL in batches.
    pub last_seen: AtomicI64,
}

/// The part of its owner's permissions that an API key has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeyScopes {
    /// The key has all permissions and the role of its owner.
    All,
    /// The key has only these permissions, and no role.
    Only(Arc<[Permission]>),
}

impl SessionState {
    /// Whether this is a session of a user who signed in, and not an API key.
    pub fn is_signed_in(&self) -> bool {
        self.api_key.is_none()
    }

    /// The role that routes may ask for. An API key with scopes has none.
    pub fn role_in_force(&self) -> Option<Role> {
        (!matches!(self.api_key, Some(ApiKeyScopes::Only(_)))).then_some(self.role)
    }

    /// Whether this is a session or an API key of the demo account.
    pub fn is_demo(&self) -> bool {
        self.user_id.is_demo()
    }

    /// Whether an access token of user epoch `ver` may use this session at `now` (Unix seconds).
    pub fn admits(&self, ver: i64, now: i64) -> bool {
        ver >= self.token_epoch && ver <= self.user_epoch && now < self.expires_at
    }

    /// Records a use of the session at `now` (Unix seconds).
    pub fn touch(&self, now: i64) {
        if self.last_seen.load(Ordering::Relaxed) < now {
            self.last_seen.store(now, Ordering::Relaxed);
        }
    }
}

/// How a client gets its tokens (`docs/contract.md`, "Tokens and sessions").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Tokens are in the response's body.
    #[default]
    Token,
    /// Tokens are in cookies.
    Cookie,
}

impl Transport {
    /// The transport's name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Cookie => "cookie",
        }
    }
}

impl JsonSchema for Transport {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Transport".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": [Self::Token.as_str(), Self::Cookie.as_str()] })
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

/// The database cannot be reached, and this process has no copy of the session that is recent enough.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the session store cannot be reached")]
pub struct SessionsUnavailable;

/// How a session came to its end, for those who ask why it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// It was ended. The reason is a name such as `logout`.
    Ended {
        /// The time at which it was ended.
        at: Timestamp,
        /// Why, if it was written down.
        reason: Option<String>,
    },
    /// It was not refreshed in time, or had lasted as long as a session may.
    Expired {
        /// The time from which it was refused.
        at: Timestamp,
    },
    /// Its user was deactivated, or all sessions of the user were ended together.
    WithItsUser,
}

/// The place where the gate looks sessions up.
pub trait SessionSource: Send + Sync + 'static {
    /// Whether every revocation older than a moment is known here. A source that cannot fall behind returns `true`.
    fn is_current(&self) -> bool {
        true
    }

    /// The session if this process has a copy, without I/O and without waiting. `None` means that it is not known here,
    /// not that it has ended.
    fn cached(&self, id: SessionId) -> Option<Arc<SessionState>>;

    /// Loads the session. `None` if it has ended or never existed. `user_epoch` is that of the presented token: a copy of
    /// an earlier epoch is stale, and is not returned while a newer one can be loaded.
    fn load(
        &self,
        id: SessionId,
        user_epoch: i64,
    ) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>>;

    /// How a session that cannot be loaded ended. `None` if that is not known: it never existed, was deleted since, or the
    /// database cannot be reached.
    fn end_of(&self, _id: SessionId) -> BoxFuture<'_, Option<SessionEnd>> {
        Box::pin(std::future::ready(None))
    }

    /// The API key with this SHA-256 digest, if this process has a copy.
    fn cached_key(&self, _digest: &[u8; 32]) -> Option<Arc<SessionState>> {
        None
    }

    /// Loads the API key with this SHA-256 digest. `None` if it was revoked or never existed.
    fn load_key(&self, _digest: [u8; 32]) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// An entry of the revocation log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The user that it concerns.
    pub user_id: UserId,
    /// The session that ended. `None` if the user changed, which makes the copies of all their sessions stale.
    pub session_id: Option<SessionId>,
    /// The epoch after the change: the session's if there is one, else the user's.
    pub epoch: i64,
    /// Whether the session, or every session of the user, has ended, so that its streams must be closed. `false` if
    /// copies are only stale.
    pub ends: bool,
}

/// Is told of every revocation that this process learns of, possibly more than once.
pub trait RevocationListener: Send + Sync + 'static {
    /// Applies a revocation. It must not block.
    fn revoked(&self, revocation: &Revocation);
}
