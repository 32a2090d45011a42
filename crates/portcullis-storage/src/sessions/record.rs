//! The row of a session: one sign-in of one user on one device.

use std::net::IpAddr;

use portcullis_model::{Amr, SessionId, Timestamp, Transport, UserId};

use crate::engine::columns::{FromRow, columns, sql};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::stored_text;
use crate::engine::value::as_bigint;
use crate::store::{Access, Database, Store, Tx};

/// A session to be inserted.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The session's id.
    pub id: SessionId,
    /// The user who signed in.
    pub user_id: UserId,
    /// SHA-256 of the first refresh token.
    pub refresh_hash: [u8; 32],
    /// When the session begins; also its first use and the time of the authentication.
    pub created_at: Timestamp,
    /// When the session ends unless it is refreshed.
    pub idle_expires_at: Timestamp,
    /// When the session ends even if it is refreshed.
    pub absolute_expires_at: Timestamp,
    /// Whether the user asked to be remembered.
    pub remember: bool,
    /// How the session hands out its tokens.
    pub transport: Transport,
    /// The client's address at the sign-in.
    pub ip: Option<IpAddr>,
    /// The client's `User-Agent` header, stored without control characters and cut to 512 characters.
    pub user_agent: Option<String>,
    /// The authentication methods of the sign-in (RFC 8176), in order.
    pub amr: Vec<Amr>,
    /// The user's epoch when the session began. A session of an epoch below the user's `session_epoch` has ended.
    pub user_epoch: i64,
}

/// A session as it is stored.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// The session's id.
    pub id: SessionId,
    /// The user who signed in.
    pub user_id: UserId,
    /// When the session began.
    pub created_at: Timestamp,
    /// When the session was last used. It is written about once a minute.
    pub last_seen_at: Timestamp,
    /// When the session ends unless it is refreshed.
    pub idle_expires_at: Timestamp,
    /// When the session ends even if it is refreshed.
    pub absolute_expires_at: Timestamp,
    /// Whether the user asked to be remembered.
    pub remember: bool,
    /// How the session hands out its tokens.
    pub transport: Transport,
    /// The client's address at the sign-in.
    pub ip: Option<String>,
    /// The client's `User-Agent` header.
    pub user_agent: Option<String>,
    /// The authentication methods of the sign-in (RFC 8176), in order.
    pub amr: Vec<Amr>,
    /// When the user authenticated.
    pub authenticated_at: Timestamp,
    /// Raised when the session ends.
    pub epoch: i64,
    /// When the session was ended; `None` while it was not.
    pub ended_at: Option<Timestamp>,
    /// Why the session was ended: a name of [`EndReason`](crate::EndReason).
    pub end_reason: Option<String>,
}

impl SessionRecord {
    /// Returns when the session expires: the earlier of its two limits.
    pub fn expires_at(&self) -> Timestamp {
        self.idle_expires_at.min(self.absolute_expires_at)
    }

    /// Returns whether the session can be used at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.expires_at()
    }
}

columns! {
    SessionRecord reads sessions {
        id, user_id, created_at, last_seen_at, idle_expires_at, absolute_expires_at, remember, transport, ip, user_agent,
        amr, authenticated_at, epoch, ended_at, end_reason,
    }
}

columns! {
    NewSession writes sessions {
        id, user_id, refresh_hash, created_at, idle_expires_at, absolute_expires_at, remember, transport, ip,
        user_agent = user_agent.as_deref().map(stored_text::user_agent), amr, user_epoch,
    } and { last_seen_at = created_at, authenticated_at = created_at, epoch = 1_i64 }
}

static RECORD: Sql =
    Sql::select("sessions", sql!("SELECT ", SessionRecord::COLUMNS, " FROM sessions WHERE sessions.id = $1"));
// Sorts the newest sessions only, so that its cost has a bound however many a user has.
static LIVE: Sql = Sql::select(
    "sessions",
    sql!(
        "SELECT ",
        SessionRecord::COLUMNS,
        " FROM (SELECT id FROM sessions WHERE user_id = $1 AND ended_at IS NULL ORDER BY created_at DESC LIMIT $4) \
         AS newest JOIN sessions ON sessions.id = newest.id JOIN users ON users.id = sessions.user_id \
         WHERE sessions.idle_expires_at > $2 AND sessions.absolute_expires_at > $2 \
         AND sessions.user_epoch >= users.session_epoch ORDER BY sessions.last_seen_at DESC, sessions.id DESC LIMIT $3"
    ),
);

/// The most sessions of a list, whatever `session.max_per_user` was when they began.
const MOST_LISTED: u64 = 1_000;

impl<A: Access> Database<A> {
    /// Returns the session as it is stored, ended or not.
    pub async fn session_record(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.one(&RECORD, vec![id.into()]).await?.map(|row| SessionRecord::from_row(&row)).transpose()
    }
}

impl Store {
    /// Returns a user's live sessions, the last used first: at most a thousand, of the newest two thousand (SR-52).
    pub async fn list_sessions(&self, user_id: UserId, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError> {
        let values = vec![user_id.into(), now.into(), as_bigint(MOST_LISTED), as_bigint(2 * MOST_LISTED)];
        self.all(&LIVE, values).await?.iter().map(SessionRecord::from_row).collect()
    }
}

impl Tx {
    /// Inserts a session.
    pub async fn insert_session(&mut self, new: &NewSession) -> Result<(), StoreError> {
        self.insert(new).await
    }
}
