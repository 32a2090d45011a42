//! What is ended in a restored database, in the transaction that restores it: a backup brings back no session, no link and
//! no mail that waited, and nothing that was cached before counts after it.

use portcullis_model::{Clock, Random};
use serde_json::Value as Json;

use super::RestoreError;
use crate::engine::dialect::Dialect;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;
use crate::engine::value::Value;
use crate::instance::GENERATION;
use crate::migrate::schema::Table;
use crate::sessions::EndReason;

/// The action of the audit event.
const ACTION: &str = "backup.restored";

/// What is ended after the rows were inserted.
#[derive(Clone, Debug, Default)]
pub struct Aftercare {
    /// Whether sessions and one-time tokens go on.
    pub keep_sessions: bool,
    /// Whether API keys end.
    pub end_keys: bool,
    /// Whether the keys that sign access tokens are made anew: those of an archive that nobody vouches for could be
    /// somebody else's, and cannot be opened without its ENCRYPTION_KEY.
    pub drop_signing_keys: bool,
    /// Facts about the restore, for the audit log.
    pub details: Option<Json>,
}

impl Aftercare {
    pub(super) async fn run(
        &self,
        on: &mut DirectConnection,
        tables: &[Table],
        clock: &Clock,
        random: &Random,
    ) -> Result<(), RestoreError> {
        let now = || Value::from(clock.now());
        // More than the changes that a user, a session or the log can have had since 1970, so that every number of the
        // installation that was lost is below.
        let jump = || Value::from(clock.unix_seconds());
        let mut steps: Vec<(String, Vec<Value>)> = Vec::new();
        let mut step = |text: &str, values: Vec<Value>| steps.push((text.to_owned(), values));
        step("DELETE FROM refresh_grace", vec![]);
        if self.keep_sessions {
            step("UPDATE users SET epoch = epoch + $1", vec![jump()]);
        } else {
            step("UPDATE users SET epoch = epoch + $1, token_epoch = epoch + $1", vec![jump()]);
            step(
                "UPDATE sessions SET ended_at = $1, end_reason = $2 WHERE ended_at IS NULL",
                vec![now(), EndReason::Restored.as_str().into()],
            );
            step("UPDATE one_time_tokens SET used_at = $1 WHERE used_at IS NULL", vec![now()]);
        }
        step("UPDATE sessions SET epoch = epoch + $1", vec![jump()]);
        step("UPDATE api_keys SET epoch = epoch + $1", vec![jump()]);
        if self.end_keys {
            step("UPDATE api_keys SET revoked_at = $1 WHERE revoked_at IS NULL", vec![now()]);
        }
        if self.drop_signing_keys {
            step("DELETE FROM signing_keys", vec![]);
        }
        step(
            "UPDATE mail_outbox SET given_up_at = $1, last_error = 'the database was restored from a backup' \
             WHERE sent_at IS NULL AND given_up_at IS NULL",
            vec![now()],
        );
        step("UPDATE jobs SET holder = NULL, lease_until = NULL", vec![]);
        step(
            "INSERT INTO instance (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            vec![GENERATION.into(), random.hex::<8>().into()],
        );
        step(
            "INSERT INTO audit_log (id, at, action, outcome, details, times) VALUES ($1, $2, $3, 'success', $4, 1)",
            vec![
                portcullis_model::ids::new_uuid(clock, random).into(),
                now(),
                ACTION.into(),
                Value::Text(self.details.as_ref().map(Json::to_string)),
            ],
        );
        for (text, values) in steps {
            on.whole_table(text, values).await?;
        }
        for table in tables {
            if let Some(column) = table.sequence {
                raise_sequence(on, table.name, column, clock.unix_seconds()).await?;
            }
        }
        Ok(())
    }
}

/// Makes the next number of a table higher than any that was given before.
async fn raise_sequence(on: &mut DirectConnection, table: &str, column: &str, jump: i64) -> Result<(), StoreError> {
    let highest = format!("(SELECT COALESCE(MAX({column}), 0) FROM {table}) + {jump}");
    match on.runner.dialect {
        Dialect::Sqlite => {
            let script = format!(
                "DELETE FROM sqlite_sequence WHERE name = '{table}'; \
                 INSERT INTO sqlite_sequence (name, seq) VALUES ('{table}', {highest})"
            );
            on.script("UPDATE", &script).await
        }
        Dialect::Postgres => {
            let text =
                format!("SELECT CAST(setval(pg_get_serial_sequence('{table}', '{column}'), {highest}) AS BIGINT) AS n");
            on.all(text, vec![]).await.map(|_| ())
        }
    }
}
