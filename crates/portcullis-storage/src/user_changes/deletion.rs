//! Deleting users. One with very many rows is hidden at once and deleted in batches, so that a deletion never takes
//! longer than a statement may (SR-52).

use portcullis_model::UserId;

use super::Sessions;
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::as_bigint;
use crate::store::{Store, Tx};

/// A user with at most this many rows is deleted at once.
const AT_ONCE: u64 = 1_000;

static ROWS: Sql = Sql::select(
    "users",
    "SELECT (SELECT count(*) FROM (SELECT 1 FROM sessions WHERE user_id = $1 LIMIT $2) AS a) \
     + (SELECT count(*) FROM (SELECT 1 FROM api_keys WHERE user_id = $1 LIMIT $2) AS b) \
     + (SELECT count(*) FROM (SELECT 1 FROM mail_outbox WHERE user_id = $1 LIMIT $2) AS c) \
     + (SELECT count(*) FROM (SELECT 1 FROM one_time_tokens WHERE user_id = $1 LIMIT $2) AS d) AS n",
);
static DELETE: Sql = Sql::delete("users", "DELETE FROM users WHERE id = $1 RETURNING epoch + 1 AS epoch");
// Takes everything that names the user, so that address and username can be used again.
static HIDE: Sql = Sql::update(
    "users",
    "UPDATE users SET deleted_at = $2, updated_at = $2, email = $3, username = $4, first_name = '-', last_name = '-', \
     avatar = NULL, role = 'VIEWER', is_active = FALSE, password_hash = NULL, email_verified_at = NULL, \
     epoch = epoch + 1, token_epoch = epoch + 1, session_epoch = epoch + 1 WHERE id = $1 AND deleted_at IS NULL \
     RETURNING epoch",
);
// An UPDATE, because it locks the user's row before those of the sessions.
static HIDDEN: Sql = Sql::update(
    "users",
    "UPDATE users SET deleted_at = deleted_at \
     WHERE id = (SELECT id FROM users WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 1) RETURNING id",
);

/// Makes a DELETE of up to `$2` rows of a user.
macro_rules! delete_some {
    ($table:literal, $key:literal) => {
        Sql::delete(
            $table,
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE ",
                $key,
                " IN (SELECT ",
                $key,
                " FROM ",
                $table,
                " WHERE user_id = $1 LIMIT $2)"
            ),
        )
    };
}

static ROWS_OF_HIDDEN: [Sql; 4] = [
    delete_some!("sessions", "id"),
    delete_some!("api_keys", "id"),
    delete_some!("mail_outbox", "id"),
    delete_some!("one_time_tokens", "hash"),
];

impl Tx {
    /// Deletes a user with sessions, API keys, permissions and one-time tokens. Every session ends at once, on every
    /// replica. The audit log keeps its events. Returns `false` if the user does not exist.
    ///
    /// A user with more than a thousand rows is hidden from every reading instead, without address and username, and
    /// [`Store::finish_deletions`] deletes the rows.
    pub async fn delete_user(&mut self, id: UserId) -> Result<bool, StoreError> {
        let rows = self.one(&ROWS, vec![id.into(), as_bigint(AT_ONCE + 1)]).await?;
        if rows.map_or(Ok(0), |row| row.count("n"))? <= AT_ONCE {
            return self.change(&DELETE, vec![id.into()], id, Sessions::End).await;
        }
        let (at, random) = (self.shared().clock.now(), &self.shared().random);
        let email = format!("{}@deleted.invalid", random.hex::<16>());
        let username = format!("deleted{}", random.hex::<8>());
        let values = vec![id.into(), at.into(), email.as_str().into(), username.as_str().into()];
        self.change(&HIDE, values, id, Sessions::End).await
    }
}

impl Store {
    /// Deletes up to `limit` rows of each table of a user whose deletion has begun, in one transaction, and at last the
    /// user. Returns whether there may be more to do.
    pub async fn finish_deletions(&self, limit: u64) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let Some(row) = tx.one(&HIDDEN, vec![]).await? else { return Ok(false) };
        let id: UserId = row.read("id")?;
        let mut more = false;
        for sql in &ROWS_OF_HIDDEN {
            more |= tx.execute(sql, vec![id.into(), as_bigint(limit)]).await? >= limit;
        }
        if !more {
            tx.change(&DELETE, vec![id.into()], id, Sessions::End).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}
