//! Ending sessions, each with an entry in the revocation log.

use portcullis_model::{SessionId, Timestamp, UserId};
use uuid::Uuid;

use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::Value;
use crate::store::Tx;

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

    /// Ends every session of a user except one, and returns how many it ended.
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
        condition: Option<Uuid>,
    ) -> Result<u64, StoreError> {
        let values: Vec<Value> = vec![key.into(), at.into(), reason.as_str().into(), condition.into()];
        let mut ended = 0;
        for row in self.all(sql, values).await? {
            self.revoke_session(row.read("user_id")?, row.read("id")?, row.read("epoch")?);
            ended += 1;
        }
        Ok(ended)
    }
}
