//! The gateway's own errors, as operators clear them away.

use portcullis_model::Permission;
use serde_json::json;
use uuid::Uuid;

use crate::administration::{Actor, Administration};
use crate::audit::Caller;
use crate::error::IdentityError;

impl Administration {
    /// Deletes a group of errors. Its next error begins a new one.
    pub async fn delete_errors(&self, actor: &Actor, id: Uuid, caller: &Caller) -> Result<(), IdentityError> {
        let mut tx = self.store.begin().await?;
        let authority = self.authority(&mut tx, actor, Permission::SYSTEM_MANAGE_SETTINGS).await?;
        if !tx.delete_error_group(id).await? {
            return Err(IdentityError::NotFound);
        }
        let details = json!({ "id": id });
        tx.append_audit(&authority.operation(caller, "errors.delete", self.clock.now(), details)).await?;
        Ok(tx.commit().await?)
    }
}
