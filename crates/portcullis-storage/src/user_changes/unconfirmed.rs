//! Deleting users who registered and then neither confirmed the address nor signed in.

use portcullis_model::{Timestamp, UserId};

use crate::audit::{AuditEvent, Outcome};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::as_bigint;
use crate::store::Store;

// Whom an administrator has disabled, promoted or given a permission stays, and so does whoever has a session that lasts.
static DELETE: Sql = Sql::delete("users", "");

impl Store {
    /// Deletes the oldest users who registered themselves before `before`, never confirmed the address and never signed
    /// in, at most `limit` in one transaction. Each leaves an audit event. Returns how many they were.
    pub async fn prune_unconfirmed_users(&self, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
        let now = self.clock().now();
        let mut tx = self.begin().await?;
        let text = format!(
            "WITH oldest AS MATERIALIZED (SELECT id FROM users WHERE unconfirmed_registration AND created_at < $1 \
             AND email_verified_at IS NULL AND last_login_at IS NULL AND role = 'DEVELOPER' AND is_active \
             AND NOT EXISTS (SELECT 1 FROM user_permissions WHERE user_permissions.user_id = users.id) \
             AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.user_id = users.id AND sessions.ended_at IS NULL \
             AND sessions.idle_expires_at > $3) ORDER BY created_at LIMIT $2{}) \
             DELETE FROM users WHERE id IN (SELECT id FROM oldest) RETURNING id, epoch + 1 AS epoch",
            self.dialect().row_lock(" FOR UPDATE SKIP LOCKED")
        );
        let values = vec![before.into(), as_bigint(limit), now.into()];
        let mut deleted = 0;
        for row in tx.all(&DELETE.with_text(text), values).await? {
            let id: UserId = row.read("id")?;
            tx.revoke_user(id, row.read("epoch")?, true);
            tx.append_audit(&pruned(id, now)).await?;
            deleted += 1;
        }
        tx.commit().await?;
        Ok(deleted)
    }
}

fn pruned(id: UserId, at: Timestamp) -> AuditEvent {
    AuditEvent {
        at,
        action: "user.prune_unconfirmed",
        outcome: Outcome::Success,
        actor_id: None,
        subject_id: Some(id),
        session_id: None,
        ip: None,
        user_agent: None,
        request_id: None,
        details: None,
    }
}
