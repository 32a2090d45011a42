//! The row of the demo account.

use portcullis_model::{Email, SecretString, Timestamp, UserId};

use super::Sessions;
use crate::engine::error::StoreError;
use crate::engine::statement::Sql;
use crate::sessions::EndReason;
use crate::store::Tx;

static RESTORE: Sql = Sql::update(
    "users",
    "UPDATE users SET email = $2, password_hash = $3, role = 'ADMIN', is_active = TRUE, \
     email_verified_at = COALESCE(email_verified_at, $4), updated_at = $4, epoch = epoch + 1, \
     token_epoch = epoch + 1 WHERE id = $1 RETURNING epoch",
);

impl Tx {
    /// Gives the demo account its configured address and password and the role ADMIN, and ends its sessions and
    /// API keys. Returns `false` if there is no such row, and `Conflict("users_email")` if another user has the address.
    pub async fn restore_demo_account(
        &mut self,
        email: &Email,
        hash: &SecretString,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = UserId::DEMO;
        let values = vec![id.into(), email.as_str().into(), hash.into(), at.into()];
        let exists = self.change(&RESTORE, values, id, Sessions::End).await?;
        self.end_credentials(id, EndReason::AccountRecovered, at).await?;
        Ok(exists)
    }
}
