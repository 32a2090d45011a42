//! Appending to the audit log.

use portcullis_model::Timestamp;
use portcullis_model::ids::new_uuid;

use super::aggregation::{self, AggregationKey};
use super::event::{AuditEvent, Outcome};
use crate::engine::columns::{Insert, columns};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::stored_text;
use crate::engine::value::ToValue;
use crate::store::{Access, Database, Store, Tx};

/// Counts repetitions on the line that shares their key, instead of inserting another one.
const COUNT_REPETITIONS: &str = " ON CONFLICT (gathered_as) DO UPDATE SET times = audit_log.times + excluded.times, \
     last_at = COALESCE(excluded.last_at, excluded.at)";

columns! {
    AuditEvent writes audit_log {
        at, action, outcome, actor_id, subject_id, session_id, ip,
        user_agent = user_agent.as_deref().map(stored_text::user_agent), request_id, details,
    }
}

impl Store {
    /// Appends an event. Repetitions of a failure wait for each other without a connection, and are written together.
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        match key_of(self, event) {
            None => insert(self, event, None, 1, None).await,
            Some(key) => self.shared().audit_gathering.append(self, event, &key).await,
        }
    }
}

impl Tx {
    /// Appends an event. It is kept together with the change that it tells of, or not at all.
    ///
    /// A failure that many requests repeat belongs into [`Store::append_audit`]: here each would wait for the line with
    /// its connection.
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        insert(self, event, key_of(self, event).as_ref(), 1, None).await
    }
}

/// Returns the key under which a failure shares a line; `None` for a success.
fn key_of<A: Access>(on: &Database<A>, event: &AuditEvent) -> Option<AggregationKey> {
    let shared = on.shared();
    match event.outcome {
        Outcome::Success => None,
        Outcome::Failure => Some(aggregation::key(&shared.audit_addresses, &shared.replica, event)),
    }
}

/// Inserts a line for an event that happened so often, or counts it on the line that has its key.
pub(super) async fn insert<A: Access>(
    on: &Database<A>,
    event: &AuditEvent,
    key: Option<&AggregationKey>,
    times: i64,
    last_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let shared = on.shared();
    let without_address;
    let shown = if key.is_some_and(|key| key.hides_address) {
        without_address = AuditEvent { ip: None, ..event.clone() };
        &without_address
    } else {
        event
    };
    let mut columns = shown.columns();
    columns.push(("id", new_uuid(&shared.clock, &shared.random).to_value()));
    columns.push(("gathered_as", key.map(|key| key.sha256).to_value()));
    columns.extend([("times", times.to_value()), ("last_at", last_at.to_value())]);
    let (sql, values) = Sql::insert_row("audit_log", columns, COUNT_REPETITIONS);
    on.execute(&sql, values).await.map(|_| ())
}
