//! The revocation log in SQL: how a commit appends to it, and who in this process is told.
//!
//! Reading what other replicas have appended is the subject of `revocation_feed`.

mod announcer;

use portcullis_model::Revocation;

use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::Value;

pub(crate) use announcer::Announcer;

/// Entries in one INSERT. Each has five parameters, far below the limit of either engine.
const BATCH: usize = 200;

static APPEND: Sql = Sql::insert("revocations", "");

/// Appends entries and returns their numbers. `notified` is the channel and this replica's name: PostgreSQL then
/// notifies the other replicas at the commit, once however many batches there are.
pub(crate) async fn append(
    on: &impl Executor,
    entries: &[Revocation],
    notified: Option<(&str, &str)>,
) -> Result<Vec<i64>, StoreError> {
    let notification =
        notified.map(|(to, replica)| format!(", CAST(pg_notify('{to}', '{replica}') AS TEXT) AS notified"));
    let notification = notification.unwrap_or_default();
    let mut written = Vec::with_capacity(entries.len());
    for batch in entries.chunks(BATCH) {
        let now = on.dialect().now("$1");
        let mut values: Vec<Value> = vec![on.now_value()];
        let mut rows = Vec::with_capacity(batch.len());
        for entry in batch {
            let n = values.len();
            rows.push(format!("({now}, ${}, ${}, ${}, ${})", n + 1, n + 2, n + 3, n + 4));
            values.push(entry.user_id.into());
            values.push(entry.session_id.into());
            values.push(entry.epoch.into());
            values.push(entry.ends.into());
        }
        let text = format!(
            "INSERT INTO revocations (at, user_id, session_id, epoch, ends) VALUES {} RETURNING seq{notification}",
            rows.join(", ")
        );
        for row in on.all(&APPEND.with_text(text), values).await? {
            written.push(row.read("seq")?);
        }
    }
    Ok(written)
}
