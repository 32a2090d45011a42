//! Sessions: one sign-in of one person on one device.

use std::net::IpAddr;

use portcullis_model::{SessionCopy, SessionId, Timestamp, Transport, UserId};

use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Runs, Sql};
use crate::engine::stored_text;
use crate::store::{Access, Database, Store, Tx};
use crate::users::{extra_permissions, read_extra_permissions};

/// A session to be made.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// SHA-256 of its first refresh token.
    pub refresh_hash: [u8; 32],
    /// When it begins; also when it was last seen and when the person proved who they are.
    pub created_at: Timestamp,
    /// When it ends unless it is refreshed.
    pub idle_expires_at: Timestamp,
    /// When it ends whatever happens.
    pub absolute_expires_at: Timestamp,
    /// Whether the person asked to be remembered.
    pub remember: bool,
    /// How it hands out tokens.
    pub transport: Transport,
    /// From where.
    pub ip: Option<IpAddr>,
    /// By which program; cut to 512 characters.
    pub user_agent: Option<String>,
    /// How the person proved who they are (RFC 8176), in order.
    pub amr: Vec<String>,
}

/// A session as it stands in the database.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, about a minute late.
    pub last_seen_at: Timestamp,
    /// When it ends unless it is refreshed.
    pub idle_expires_at: Timestamp,
    /// When it ends whatever happens.
    pub absolute_expires_at: Timestamp,
    /// Whether the person asked to be remembered.
    pub remember: bool,
    /// How it hands out tokens.
    pub transport: Transport,
    /// From where it began.
    pub ip: Option<String>,
    /// By which program.
    pub user_agent: Option<String>,
    /// How the person proved who they are.
    pub amr: Vec<String>,
    /// When the person proved it.
    pub authenticated_at: Timestamp,
    /// Raised when it ends.
    pub epoch: i64,
    /// When it ended; `None` while nobody has ended it.
    pub ended_at: Option<Timestamp>,
    /// Why it ended, one of [`EndReason`]'s names.
    pub end_reason: Option<String>,
}

impl SessionRecord {
    /// When it ends by itself: the earlier of its two limits.
    pub fn expires_at(&self) -> Timestamp {
        self.idle_expires_at.min(self.absolute_expires_at)
    }

    /// Whether it can be used at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.expires_at()
    }
}

/// The columns of [`read_session`], under names that a join with `users` leaves unique.
macro_rules! session_columns {
    () => {
        "sessions.id AS session_id, sessions.user_id AS session_user_id, sessions.created_at AS session_created_at, \
         sessions.last_seen_at AS last_seen_at, sessions.idle_expires_at AS idle_expires_at, \
         sessions.absolute_expires_at AS absolute_expires_at, sessions.remember AS remember, \
         sessions.transport AS transport, sessions.ip AS ip, sessions.user_agent AS user_agent, sessions.amr AS amr, \
         sessions.authenticated_at AS authenticated_at, sessions.epoch AS session_epoch, \
         sessions.ended_at AS ended_at, sessions.end_reason AS end_reason"
    };
}
pub(crate) use session_columns;

static INSERT: Sql = Sql::insert(
    "sessions",
    "INSERT INTO sessions (id, user_id, refresh_hash, created_at, last_seen_at, idle_expires_at, absolute_expires_at, \
     remember, transport, ip, user_agent, amr, authenticated_at, epoch) \
     VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10, $11, $4, 1)",
);
static RECORD: Sql =
    Sql::select("sessions", concat!("SELECT ", session_columns!(), " FROM sessions WHERE sessions.id = $1"));
static STATE: Sql = Sql::select(
    "sessions",
    concat!(
        "SELECT sessions.user_id AS user_id, sessions.last_seen_at AS last_seen_at, \
         sessions.idle_expires_at AS idle_expires_at, sessions.absolute_expires_at AS absolute_expires_at, \
         sessions.amr AS amr, sessions.authenticated_at AS authenticated_at, sessions.epoch AS session_epoch, \
         users.email AS email, users.email_verified_at AS email_verified_at, users.role AS role, \
         users.epoch AS user_epoch, users.token_epoch AS token_epoch, ",
        extra_permissions!(),
        " FROM sessions JOIN users ON users.id = sessions.user_id \
         WHERE sessions.id = $1 AND sessions.ended_at IS NULL AND users.is_active"
    ),
);
static LIVE: Sql = Sql::select(
    "sessions",
    concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions WHERE sessions.user_id = $1 AND sessions.ended_at IS NULL \
         AND sessions.idle_expires_at > $2 AND sessions.absolute_expires_at > $2 \
         ORDER BY sessions.last_seen_at DESC, sessions.id DESC"
    ),
);
/// Reads [`session_columns`].
pub(crate) fn read_session(row: &Row) -> Result<SessionRecord, StoreError> {
    Ok(SessionRecord {
        id: row.session_id("session_id")?,
        user_id: row.user_id("session_user_id")?,
        created_at: row.time("session_created_at")?,
        last_seen_at: row.time("last_seen_at")?,
        idle_expires_at: row.time("idle_expires_at")?,
        absolute_expires_at: row.time("absolute_expires_at")?,
        remember: row.get("remember")?,
        transport: row.parsed("transport")?,
        ip: row.get("ip")?,
        user_agent: row.get("user_agent")?,
        amr: read_amr(row)?,
        authenticated_at: row.time("authenticated_at")?,
        epoch: row.get("session_epoch")?,
        ended_at: row.optional_time("ended_at")?,
        end_reason: row.get("end_reason")?,
    })
}

fn read_amr(row: &Row) -> Result<Vec<String>, StoreError> {
    let text: String = row.get("amr")?;
    serde_json::from_str(&text).map_err(|error| StoreError::corrupt(format!("amr: {error}")))
}

fn read_copy(row: &Row, id: SessionId) -> Result<SessionCopy, StoreError> {
    let expires_at = row.time("idle_expires_at")?.min(row.time("absolute_expires_at")?);
    Ok(SessionCopy {
        id,
        user_id: row.user_id("user_id")?,
        role: row.parsed("role")?,
        extra_permissions: read_extra_permissions(row)?.into_iter().collect(),
        email: portcullis_model::Email::from_stored(row.get("email")?),
        email_verified: row.optional_time("email_verified_at")?.is_some(),
        amr: read_amr(row)?,
        authenticated_at: row.time("authenticated_at")?.timestamp(),
        session_epoch: row.get("session_epoch")?,
        user_epoch: row.get("user_epoch")?,
        token_epoch: row.get("token_epoch")?,
        expires_at: expires_at.timestamp(),
        last_seen: row.time("last_seen_at")?.timestamp(),
        api_key: None,
    })
}

impl<A: Access> Database<A> {
    /// Returns the session as it is stored, ended or not.
    pub async fn session_record(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.one(&RECORD, vec![id.0.into()]).await?.map(|row| read_session(&row)).transpose()
    }
}

impl Store {
    /// What the gate needs of the session, in one statement; `None` when it is unknown, has ended, or its owner is
    /// not active. Whether it has expired is for the caller to see, by its `expires_at`.
    pub async fn session_copy(&self, id: SessionId) -> Result<Option<SessionCopy>, StoreError> {
        self.one(&STATE, vec![id.0.into()]).await?.map(|row| read_copy(&row, id)).transpose()
    }

    /// A person's live sessions, latest use first.
    pub async fn list_sessions(&self, user_id: UserId, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError> {
        self.all(&LIVE, vec![user_id.0.into(), now.into()]).await?.iter().map(read_session).collect()
    }
}

impl Tx {
    /// Begins a session.
    pub async fn insert_session(&mut self, new: &NewSession) -> Result<(), StoreError> {
        let values = vec![
            new.id.0.into(),
            new.user_id.0.into(),
            new.refresh_hash.to_vec().into(),
            new.created_at.into(),
            new.idle_expires_at.into(),
            new.absolute_expires_at.into(),
            new.remember.into(),
            new.transport.as_str().into(),
            new.ip.map(|ip| ip.to_string()).into(),
            new.user_agent.as_deref().map(stored_text::user_agent).into(),
            serde_json::Value::from(new.amr.clone()).to_string().into(),
        ];
        self.execute(&INSERT, values).await.map(|_| ())
    }
}
