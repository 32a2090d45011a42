//! The audit log: who did what, from where, and whether it was allowed (SR-36).

mod aggregation;
mod append;
mod event;
mod gathering;
mod query;

pub(crate) use gathering::Gathering;

pub use event::{AuditEvent, AuditRecord, Outcome, UnknownOutcome};
pub use query::{AuditFilter, AuditPage};
