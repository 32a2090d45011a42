//! Rotation of refresh tokens by compare-and-set, and the grace window after one.

use portcullis_model::{SessionId, Timestamp, User};

use super::record::{SessionRecord, read_session, session_columns};
use crate::engine::error::StoreError;
use crate::engine::statement::{Runs, Sql};
use crate::store::{Access, Database, Tx};
use crate::users::{read_user, user_columns};

/// All that a refresh must know, from one statement.
#[derive(Clone, Debug)]
pub struct RefreshView {
    /// The session, ended or not.
    pub session: SessionRecord,
    /// Whose it is.
    pub user: User,
    /// The claim `ver` of a new access token.
    pub user_epoch: i64,
    /// Access tokens made in an earlier epoch are dead.
    pub token_epoch: i64,
    /// SHA-256 of the refresh token in force.
    pub refresh_hash: [u8; 32],
    /// The database's time, by which limits and the grace window are judged on every replica alike.
    pub now: Timestamp,
}

/// A rotation to be made.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// Of which session.
    pub session_id: SessionId,
    /// SHA-256 of the token that was presented.
    pub presented_hash: [u8; 32],
    /// SHA-256 of its successor.
    pub new_hash: [u8; 32],
    /// The successor, sealed under a key that only a holder of the presented token can derive.
    pub sealed_successor: &'a [u8],
    /// The database's time.
    pub now: Timestamp,
    /// Until when the session now lasts unless refreshed again.
    pub idle_expires_at: Timestamp,
}

/// What is left of a rotated token for a few seconds.
#[derive(Clone, Debug)]
pub struct Grace {
    /// Of which session.
    pub session_id: SessionId,
    /// The successor, sealed.
    pub sealed_successor: Vec<u8>,
    /// When it was rotated, in the database's time.
    pub rotated_at: Timestamp,
    /// The database's time.
    pub now: Timestamp,
}

static VIEW: Sql = Sql::select("sessions", "");
static GRACE: Sql = Sql::select("refresh_grace", "");
static ROTATE: Sql = Sql::update(
    "sessions",
    "UPDATE sessions SET refresh_hash = $3, idle_expires_at = $4, last_seen_at = $5 \
     WHERE id = $1 AND refresh_hash = $2 AND ended_at IS NULL AND idle_expires_at > $5 AND absolute_expires_at > $5",
);
static KEEP: Sql = Sql::insert(
    "refresh_grace",
    "INSERT INTO refresh_grace (token_hash, session_id, sealed_successor, rotated_at) VALUES ($1, $2, $3, $4)",
);

impl<A: Access> Database<A> {
    /// Returns the session of a refresh token, with its user.
    pub async fn refresh_view(&self, id: SessionId) -> Result<Option<RefreshView>, StoreError> {
        let text = format!(
            concat!(
                "SELECT ",
                session_columns!(),
                ", ",
                user_columns!(),
                ", sessions.refresh_hash AS refresh_hash, users.epoch AS user_epoch, users.token_epoch AS token_epoch, \
                 {} AS db_now FROM sessions JOIN users ON users.id = sessions.user_id WHERE sessions.id = $1"
            ),
            self.dialect().now("$2")
        );
        let row = self.one(&VIEW.with_text(text), vec![id.0.into(), self.now_value()]).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(RefreshView {
            session: read_session(&row)?,
            user: read_user(&row)?,
            user_epoch: row.get("user_epoch")?,
            token_epoch: row.get("token_epoch")?,
            refresh_hash: row.hash("refresh_hash")?,
            now: row.time("db_now")?,
        }))
    }

    /// Returns the sealed successor of a refresh token that was rotated a moment ago.
    pub async fn refresh_grace(&self, token_hash: &[u8; 32]) -> Result<Option<Grace>, StoreError> {
        let text = format!(
            "SELECT session_id, sealed_successor, rotated_at, {} AS db_now FROM refresh_grace WHERE token_hash = $1",
            self.dialect().now("$2")
        );
        let values = vec![token_hash.to_vec().into(), self.now_value()];
        let Some(row) = self.one(&GRACE.with_text(text), values).await? else { return Ok(None) };
        Ok(Some(Grace {
            session_id: row.session_id("session_id")?,
            sealed_successor: row.get("sealed_successor")?,
            rotated_at: row.time("rotated_at")?,
            now: row.time("db_now")?,
        }))
    }
}

impl Tx {
    /// Rotates: of any number of callers with the same token exactly one gets `true` (SR-32). `false` also when the
    /// session has ended or expired.
    pub async fn rotate_refresh(&mut self, rotation: &Rotation<'_>) -> Result<bool, StoreError> {
        let set = vec![
            rotation.session_id.0.into(),
            rotation.presented_hash.to_vec().into(),
            rotation.new_hash.to_vec().into(),
            rotation.idle_expires_at.into(),
            rotation.now.into(),
        ];
        if self.execute(&ROTATE, set).await? == 0 {
            return Ok(false);
        }
        let keep = vec![
            rotation.presented_hash.to_vec().into(),
            rotation.session_id.0.into(),
            rotation.sealed_successor.to_vec().into(),
            rotation.now.into(),
        ];
        self.execute(&KEEP, keep).await?;
        Ok(true)
    }
}
