//! Rotation of refresh tokens by compare-and-set, and the grace window after a rotation.

use portcullis_model::{SessionId, Timestamp, User};

use super::record::SessionRecord;
use crate::engine::columns::{FromRow, column_list, columns, sql};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::store::{Access, Database, Tx};

/// Everything that a refresh needs, read with one statement.
#[derive(Clone, Debug)]
pub struct RefreshView {
    /// The session, ended or not.
    pub session: SessionRecord,
    /// The session's user.
    pub user: User,
    /// The claim `ver` of a new access token.
    pub user_epoch: i64,
    /// Access tokens of an earlier epoch are invalid.
    pub token_epoch: i64,
    /// SHA-256 of the current refresh token.
    pub refresh_hash: [u8; 32],
    /// The database's time, by which every replica judges limits and the grace window.
    pub now: Timestamp,
}

/// A rotation to be made.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// The session whose token is rotated.
    pub session_id: SessionId,
    /// SHA-256 of the presented token.
    pub presented_hash: [u8; 32],
    /// SHA-256 of its successor.
    pub new_hash: [u8; 32],
    /// The successor, sealed under a key that only a holder of the presented token can derive.
    pub sealed_successor: &'a [u8],
    /// The database's time.
    pub now: Timestamp,
    /// When the session ends unless it is refreshed again.
    pub idle_expires_at: Timestamp,
}

/// What is kept of a rotated token during the grace window.
#[derive(Clone, Debug)]
pub struct GraceWindow {
    /// The session of the token.
    pub session_id: SessionId,
    /// The token's successor, sealed.
    pub sealed_successor: Vec<u8>,
    /// When the token was rotated, in the database's time.
    pub rotated_at: Timestamp,
    /// The database's time.
    pub now: Timestamp,
}

/// A row of `refresh_grace` to be inserted.
struct NewGraceWindow {
    token_hash: [u8; 32],
    session_id: SessionId,
    sealed_successor: Vec<u8>,
    rotated_at: Timestamp,
}

columns! {
    NewGraceWindow writes refresh_grace { token_hash, session_id, sealed_successor, rotated_at }
}

const VIEW_COLUMNS: &str = sql!(
    SessionRecord::COLUMNS,
    ", ",
    User::COLUMNS,
    ", ",
    column_list!(sessions { refresh_hash }),
    ", ",
    column_list!(users { epoch, token_epoch })
);

static VIEW: Sql = Sql::select("sessions", "");
static GRACE: Sql = Sql::select("refresh_grace", "");
static ROTATE: Sql = Sql::update(
    "sessions",
    "UPDATE sessions SET refresh_hash = $3, idle_expires_at = $4, last_seen_at = $5 \
     WHERE id = $1 AND refresh_hash = $2 AND ended_at IS NULL AND idle_expires_at > $5 AND absolute_expires_at > $5 \
     AND user_epoch >= (SELECT users.session_epoch FROM users WHERE users.id = sessions.user_id)",
);

impl<A: Access> Database<A> {
    /// Returns the session of a refresh token, with its user. `None` also when the session was ended together with all
    /// sessions of an earlier epoch.
    pub async fn refresh_view(&self, id: SessionId) -> Result<Option<RefreshView>, StoreError> {
        let text = format!(
            "SELECT {VIEW_COLUMNS}, {} AS db_now FROM sessions JOIN users ON users.id = sessions.user_id \
             WHERE sessions.id = $1 AND sessions.user_epoch >= users.session_epoch",
            self.dialect().now("$2")
        );
        let row = self.one(&VIEW.with_text(text), vec![id.into(), self.now_value()]).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(RefreshView {
            session: SessionRecord::from_row(&row)?,
            user: User::from_row(&row)?,
            user_epoch: row.read("users_epoch")?,
            token_epoch: row.read("users_token_epoch")?,
            refresh_hash: row.read("sessions_refresh_hash")?,
            now: row.read("db_now")?,
        }))
    }

    /// Returns the sealed successor of a refresh token that was rotated a moment ago.
    pub async fn grace_window(&self, token_hash: &[u8; 32]) -> Result<Option<GraceWindow>, StoreError> {
        let text = format!(
            "SELECT session_id, sealed_successor, rotated_at, {} AS db_now FROM refresh_grace WHERE token_hash = $1",
            self.dialect().now("$2")
        );
        let row = self.one(&GRACE.with_text(text), vec![token_hash.into(), self.now_value()]).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(GraceWindow {
            session_id: row.read("session_id")?,
            sealed_successor: row.read("sealed_successor")?,
            rotated_at: row.read("rotated_at")?,
            now: row.read("db_now")?,
        }))
    }
}

impl Tx {
    /// Rotates a refresh token. Of any number of callers with the same token exactly one gets `true` (SR-32). Returns
    /// `false` also when the session has ended or expired.
    pub async fn rotate_refresh(&mut self, rotation: &Rotation<'_>) -> Result<bool, StoreError> {
        let values = vec![
            rotation.session_id.into(),
            rotation.presented_hash.into(),
            rotation.new_hash.into(),
            rotation.idle_expires_at.into(),
            rotation.now.into(),
        ];
        if self.execute(&ROTATE, values).await? == 0 {
            return Ok(false);
        }
        self.insert(&NewGraceWindow {
            token_hash: rotation.presented_hash,
            session_id: rotation.session_id,
            sealed_successor: rotation.sealed_successor.to_vec(),
            rotated_at: rotation.now,
        })
        .await?;
        Ok(true)
    }
}
