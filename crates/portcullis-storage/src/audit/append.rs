//! Appending to the audit log.

use portcullis_model::ids::new_uuid;

use super::aggregation;
use super::event::{AuditEvent, Outcome};
use crate::engine::columns::{Insert, columns};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::stored_text;
use crate::engine::value::ToValue;
use crate::store::{Access, Database};

/// Counts a repetition on the line that shares its key, instead of inserting another one.
const COUNT_REPETITION: &str =
    " ON CONFLICT (gathered_as) DO UPDATE SET times = audit_log.times + 1, last_at = excluded.at";

columns! {
    AuditEvent writes audit_log {
        at, action, outcome, actor_id, subject_id, session_id, ip,
        user_agent = user_agent.as_deref().map(stored_text::user_agent), request_id, details,
    }
}

impl<A: Access> Database<A> {
    /// Appends an event. In a transaction it is kept together with the change that it tells of, or not at all.
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let shared = self.shared();
        let aggregation = match event.outcome {
            Outcome::Success => None,
            Outcome::Failure => Some(aggregation::key(&shared.audit_addresses, event)),
        };
        let without_address;
        let shown = if aggregation.as_ref().is_some_and(|key| key.hides_address) {
            without_address = AuditEvent { ip: None, ..event.clone() };
            &without_address
        } else {
            event
        };
        let mut columns = shown.columns();
        columns.push(("id", new_uuid(&shared.clock, &shared.random).to_value()));
        columns.push(("gathered_as", aggregation.map(|key| key.sha256).to_value()));
        let (sql, values) = Sql::insert_row("audit_log", columns, COUNT_REPETITION);
        self.execute(&sql, values).await.map(|_| ())
    }
}
