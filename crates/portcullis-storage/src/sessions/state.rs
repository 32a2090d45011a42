//! What the gate reads of a session, with the user and the epochs.

use portcullis_model::{SessionCopy, SessionId, Timestamp};

use crate::engine::columns::{column_list, sql};
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Executor, Sql};
use crate::store::Store;
use crate::users::EXTRA_PERMISSIONS;

const COLUMNS: &str = sql!(
    column_list!(sessions {
        id,
        user_id,
        last_seen_at,
        idle_expires_at,
        absolute_expires_at,
        amr,
        authenticated_at,
        epoch
    }),
    ", ",
    column_list!(users {
        email, email_verified_at, role, epoch, token_epoch, extra_permissions = EXTRA_PERMISSIONS
    }),
);

static STATE: Sql = Sql::select("sessions", "");

impl Store {
    /// Returns what the gate needs of the session, read with one statement. `None` when the session does not exist or
    /// has ended, or its user is inactive. An expired session is returned; the caller checks its `expires_at`.
    pub async fn session_copy(&self, id: SessionId) -> Result<Option<SessionCopy>, StoreError> {
        let text = format!(
            "SELECT {COLUMNS}, {} AS read_at FROM sessions JOIN users ON users.id = sessions.user_id \
             WHERE sessions.id = $1 AND sessions.ended_at IS NULL AND sessions.user_epoch >= users.session_epoch \
             AND users.is_active",
            self.dialect().statement_start("$2")
        );
        let values = vec![id.into(), self.now_value()];
        self.one(&STATE.with_text(text), values).await?.map(|row| read(&row)).transpose()
    }
}

fn read(row: &Row) -> Result<SessionCopy, StoreError> {
    let idle_expires_at: Timestamp = row.read("sessions_idle_expires_at")?;
    let expires_at = idle_expires_at.min(row.read("sessions_absolute_expires_at")?);
    Ok(SessionCopy {
        id: row.read("sessions_id")?,
        user_id: row.read("sessions_user_id")?,
        role: row.read("users_role")?,
        extra_permissions: row
            .read::<portcullis_model::PermissionSet>("users_extra_permissions")?
            .into_iter()
            .collect(),
        email: row.read("users_email")?,
        email_verified: row.read::<Option<Timestamp>>("users_email_verified_at")?.is_some(),
        amr: row.read("sessions_amr")?,
        authenticated_at: row.read::<Timestamp>("sessions_authenticated_at")?.timestamp(),
        session_epoch: row.read("sessions_epoch")?,
        user_epoch: row.read("users_epoch")?,
        token_epoch: row.read("users_token_epoch")?,
        expires_at: expires_at.timestamp(),
        last_seen: row.read::<Timestamp>("sessions_last_seen_at")?.timestamp(),
        api_key: None,
        read_at: row.read("read_at")?,
    })
}
