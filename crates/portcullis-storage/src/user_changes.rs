//! Changes of users. Each raises the user's epoch, so that cached copies of the user's sessions become stale, and some
//! end the sessions.

mod access;
mod deletion;
mod demo_account;
mod password;
mod profile;
mod unconfirmed;

use portcullis_model::{Timestamp, UserId};

use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::Value;
use crate::sessions::EndReason;
use crate::store::Tx;

pub use profile::ProfileChange;

// In one statement: a user has at most 100 keys that are not revoked.
static REVOKE_KEYS: Sql = Sql::update(
    "api_keys",
    "UPDATE api_keys SET revoked_at = $2, epoch = epoch + 1 WHERE user_id = $1 AND revoked_at IS NULL",
);

/// What a change means for the user's sessions and API keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sessions {
    GoOn,
    End,
}

impl Tx {
    /// Runs a statement that raises the user's epoch and returns it, and adds the revocation that belongs to it. Returns
    /// `false` when the statement found no user.
    ///
    /// The user's row is written before the rows of the sessions. A sign-in that runs at the same time therefore either
    /// is seen here or fails in [`record_login`](Self::record_login).
    async fn change(
        &mut self,
        sql: &Sql,
        values: Vec<Value>,
        id: UserId,
        sessions: Sessions,
    ) -> Result<bool, StoreError> {
        let Some(row) = self.one(sql, values).await? else { return Ok(false) };
        self.revoke_user(id, row.read("epoch")?, sessions == Sessions::End);
        Ok(true)
    }

    /// Ends the rows of all sessions and API keys of a user (SR-51). The revocation that makes their copies stale on every
    /// replica was added before.
    async fn end_credentials(&mut self, id: UserId, reason: EndReason, at: Timestamp) -> Result<(), StoreError> {
        self.end_rows_of(id, None, reason, at).await?;
        self.execute(&REVOKE_KEYS, vec![id.into(), at.into()]).await.map(|_| ())
    }
}
