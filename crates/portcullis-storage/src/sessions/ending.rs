//! Ending sessions, each with an entry in the revocation log.

use portcullis_model::{SessionId, Timestamp, UserId};
use uuid::Uuid;

use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::{Value, as_bigint};
use crate::store::{Store, Tx};

/// Why a session was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The user signed out of the session.
    Logout,
    /// The user signed out everywhere.
    LogoutAll,
    /// The user ended the session from another one.
    EndedByUser,
    /// An administrator ended the session.
    EndedByAdministrator,
    /// The user changed the password in another session.
    PasswordChanged,
    /// The password was reset through a mailed link.
    PasswordReset,
    /// A rotated refresh token was presented again (RFC 9700, section 4.14.2).
    RefreshReuse,
    /// The user was deactivated.
    AccountDisabled,
    /// The user was recovered from the command line.
    AccountRecovered,
    /// The user signed in once more than the number of sessions that a user may have (`session.max_per_user`).
    SessionLimit,
    /// The database was restored from a backup.
    Restored,
}

impl EndReason {
    /// Returns the name that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::LogoutAll => "logout_all",
            Self::EndedByUser => "ended_by_user",
            Self::EndedByAdministrator => "ended_by_administrator",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::RefreshReuse => "refresh_reuse",
            Self::AccountDisabled => "account_disabled",
            Self::AccountRecovered => "account_recovered",
            Self::SessionLimit => "session_limit",
            Self::Restored => "restored",
        }
    }
}

static END: Sql = Sql::update(
    "sessions",
    "UPDATE sessions SET ended_at = $2, end_reason = $3, epoch = epoch + 1 \
     WHERE id = $1 AND ended_at IS NULL AND ($4 IS NULL OR user_id = $4) RETURNING id, user_id, epoch",
);
static RAISE_EPOCH: Sql = Sql::update("users", "UPDATE users SET epoch = epoch + 1 WHERE id = $1 RETURNING epoch");
static END_NEWEST: Sql = Sql::update(
    "sessions",
    "UPDATE sessions SET ended_at = $2, end_reason = $3, epoch = epoch + 1 \
     WHERE id IN (SELECT id FROM sessions WHERE user_id = $1 AND ended_at IS NULL AND ($4 IS NULL OR id <> $4) \
     ORDER BY created_at DESC LIMIT $5) AND ended_at IS NULL RETURNING id, user_id, epoch",
);
static RAISE_FLOOR: Sql = Sql::update("users", "UPDATE users SET session_epoch = epoch WHERE id = $1");
static KEEP: Sql = Sql::update(
    "sessions",
    "UPDATE sessions SET user_epoch = (SELECT users.epoch FROM users WHERE users.id = sessions.user_id) WHERE id = $1",
);
// Looks at the oldest sessions only, so that its cost has a bound however many there are. Expired ones go first.
static END_BEYOND: Sql = Sql::update(
    "sessions",
    "UPDATE sessions SET ended_at = $4, end_reason = $3, epoch = epoch + 1 \
     WHERE id IN (SELECT id FROM (SELECT id, last_seen_at, idle_expires_at, absolute_expires_at FROM sessions \
     WHERE user_id = $1 AND ended_at IS NULL AND id <> $2 ORDER BY created_at LIMIT $5) AS oldest \
     ORDER BY (idle_expires_at > $4 AND absolute_expires_at > $4) DESC, last_seen_at DESC, id DESC LIMIT $5 OFFSET $6) \
     AND ended_at IS NULL RETURNING id, user_id, epoch",
);
// An UPDATE, because it locks the user's row before those of the sessions.
static ENDED_BY_FLOOR: Sql = Sql::update(
    "users",
    "UPDATE users SET session_epoch = session_epoch \
     WHERE id = (SELECT id FROM users WHERE session_epoch > 0 ORDER BY id LIMIT 1) RETURNING id, session_epoch",
);
static END_BELOW_FLOOR: Sql = Sql::update(
    "sessions",
    "UPDATE sessions SET ended_at = $2, end_reason = $3, epoch = epoch + 1 \
     WHERE id IN (SELECT id FROM sessions WHERE user_id = $1 AND ended_at IS NULL AND user_epoch < $4 \
     ORDER BY created_at LIMIT $5) AND ended_at IS NULL RETURNING id, user_id, epoch",
);
static LOWER_FLOOR: Sql =
    Sql::update("users", "UPDATE users SET session_epoch = 0 WHERE id = $1 AND session_epoch = $2");

/// Rows that one statement ends. A user who has more is ended by the floor, and [`Store::end_left_sessions`] ends the rest.
const BATCH: u64 = 1_000;

impl Tx {
    /// Ends a session. Returns `false` when it does not exist or had ended already.
    pub async fn end_session(&mut self, id: SessionId, reason: EndReason, at: Timestamp) -> Result<bool, StoreError> {
        let ended = self.end(&END, id.0, reason, at, None).await?;
        Ok(ended == 1)
    }

    /// Ends a session of this user. Returns `false` also when it belongs to another user.
    pub async fn end_session_of(
        &mut self,
        owner: UserId,
        id: SessionId,
        reason: EndReason,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let ended = self.end(&END, id.0, reason, at, Some(owner.0)).await?;
        Ok(ended == 1)
    }

    /// Ends every session of a user except one. Its cost does not depend on the number of sessions (SR-52): it ends the
    /// rows of the newest, returns how many those are, and makes the others count as ended by the user's
    /// `session_epoch`, which each reading of a session compares.
    ///
    /// The user's row is locked before the rows of sessions, as in every other transaction that locks both.
    pub async fn end_sessions_of(
        &mut self,
        owner: UserId,
        except: Option<SessionId>,
        reason: EndReason,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let Some(row) = self.one(&RAISE_EPOCH, vec![owner.into()]).await? else { return Ok(0) };
        self.revoke_user(owner, row.read("epoch")?, except.is_none());
        self.end_rows_of(owner, except, reason, at).await
    }

    /// Ends the rows of a user's sessions after the user's epoch was raised in this transaction and the revocation of it
    /// was added. Returns how many rows it ended.
    pub(crate) async fn end_rows_of(
        &mut self,
        owner: UserId,
        except: Option<SessionId>,
        reason: EndReason,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let values: Vec<Value> = vec![owner.into(), at.into(), reason.as_str().into(), except.into(), as_bigint(BATCH)];
        let ended = self.all(&END_NEWEST, values).await?;
        if except.is_some() {
            // Without an exception the user's revocation ends everything.
            self.revoke_rows(&ended)?;
        }
        let count = u64::try_from(ended.len()).unwrap_or(BATCH);
        if count == BATCH {
            self.execute(&RAISE_FLOOR, vec![owner.into()]).await?;
            if let Some(kept) = except {
                self.execute(&KEEP, vec![kept.into()]).await?;
            }
        }
        Ok(count)
    }

    /// Ends those sessions of a user that exceed `most` once `newest` has begun: expired ones first, then the least
    /// recently used (SR-52). The caller has locked the user's row, so that concurrent sign-ins count one after the other.
    /// Returns how many it ended.
    pub async fn end_sessions_beyond(
        &mut self,
        owner: UserId,
        most: u64,
        newest: SessionId,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let values: Vec<Value> = vec![
            owner.into(),
            newest.into(),
            EndReason::SessionLimit.as_str().into(),
            at.into(),
            as_bigint(most.saturating_add(BATCH)),
            as_bigint(most.saturating_sub(1)),
        ];
        let ended = self.all(&END_BEYOND, values).await?;
        self.revoke_rows(&ended)
    }

    async fn end(
        &mut self,
        sql: &Sql,
        key: Uuid,
        reason: EndReason,
        at: Timestamp,
        condition: Option<Uuid>,
    ) -> Result<u64, StoreError> {
        let values: Vec<Value> = vec![key.into(), at.into(), reason.as_str().into(), condition.into()];
        let ended = self.all(sql, values).await?;
        self.revoke_rows(&ended)
    }

    /// Adds a revocation for each session that a statement has ended, and returns their number.
    fn revoke_rows(&mut self, ended: &[Row]) -> Result<u64, StoreError> {
        for row in ended {
            self.revoke_session(row.read("user_id")?, row.read("id")?, row.read("epoch")?);
        }
        Ok(u64::try_from(ended.len()).unwrap_or(u64::MAX))
    }
}

impl Store {
    /// Ends rows of sessions that count as ended by their user's `session_epoch`, up to `limit` of them in one
    /// transaction. Returns whether there may be more.
    pub async fn end_left_sessions(&self, limit: u64, at: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let Some(row) = tx.one(&ENDED_BY_FLOOR, vec![]).await? else { return Ok(false) };
        let (owner, floor): (UserId, i64) = (row.read("id")?, row.read("session_epoch")?);
        let reason = EndReason::LogoutAll.as_str();
        let values: Vec<Value> = vec![owner.into(), at.into(), reason.into(), floor.into(), as_bigint(limit)];
        let ended = tx.all(&END_BELOW_FLOOR, values).await?;
        if tx.revoke_rows(&ended)? < limit {
            tx.execute(&LOWER_FLOOR, vec![owner.into(), floor.into()]).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}
