//! Ending sessions: why, and the entry in the revocation log that goes with it.

use crate::engine::value::Value;
use portcullis_model::{SessionId, Timestamp, UserId};
use uuid::Uuid;

use crate::engine::error::StoreError;
use crate::engine::statement::{Runs, Sql};
use crate::store::Tx;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its owner signed out of it.
    Logout,
    /// Its owner signed out everywhere.
    LogoutAll,
    /// Its owner ended it from another session.
    EndedByUser,
    /// An administrator ended it.
    EndedByAdministrator,
    /// The password was changed in another session.
    PasswordChanged,
    /// The password was reset.
    PasswordReset,
    /// A refresh token that had been rotated came back (RFC 9700 §4.14.2).
    RefreshReuse,
    /// The account was disabled.
    AccountDisabled,
    /// The account was recovered from the command line.
    AccountRecovered,
}

impl EndReason {
    /// The name in the database.
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
        }
    }
}

static END: Sql = Sql::update(
    "sessions",
    "UPDATE sessions SET ended_at = $2, end_reason = $3, epoch = epoch + 1 \
     WHERE id = $1 AND ended_at IS NULL AND ($4 IS NULL OR user_id = $4) RETURNING id, user_id, epoch",
);
static END_OTHERS: Sql = Sql::update(
    "sessions",
    "UPDATE sessions SET ended_at = $2, end_reason = $3, epoch = epoch + 1 \
     WHERE user_id = $1 AND ended_at IS NULL AND ($4 IS NULL OR id <> $4) RETURNING id, user_id, epoch",
);

impl Tx {
    /// Ends a session; `false` when it is unknown or had already ended.
    pub async fn end_session(&mut self, id: SessionId, reason: EndReason, at: Timestamp) -> Result<bool, StoreError> {
        let ended = self.end(&END, id.0, reason, at, None).await?;
        Ok(ended == 1)
    }

    /// Ends a session of this person; `false` also when it is somebody else's.
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

    /// Ends every session of a person but one, and says how many.
    pub async fn end_sessions_of(
        &mut self,
        owner: UserId,
        except: Option<SessionId>,
        reason: EndReason,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        self.end(&END_OTHERS, owner.0, reason, at, except.map(|id| id.0)).await
    }

    async fn end(
        &mut self,
        sql: &Sql,
        key: Uuid,
        reason: EndReason,
        at: Timestamp,
        narrowed_by: Option<Uuid>,
    ) -> Result<u64, StoreError> {
        let values: Vec<Value> = vec![key.into(), at.into(), reason.as_str().into(), narrowed_by.into()];
        let mut ended = 0;
        for row in self.all(sql, values).await? {
            self.revoke_session(row.user_id("user_id")?, row.session_id("id")?, row.get("epoch")?);
            ended += 1;
        }
        Ok(ended)
    }
}
