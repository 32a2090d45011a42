//! Records the statements that a store runs, and the plans that PostgreSQL sends for them.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// A statement's text and the lines of its plan.
pub(super) type Statement = (String, Vec<String>);

/// The target of the store's trace event for each statement, whose field `sql` is the statement's text.
const STATEMENTS: &str = "portcullis_storage::statement";
/// The target of the driver's event for each notice of PostgreSQL.
const NOTICES: &str = "sqlx::postgres::notice";
/// The types of values that differ in each run, as they follow a value in a plan.
const RANDOM_TYPES: [&str; 4] = ["::bytea", "::uuid", "::timestamp with time zone", "::pg_snapshot"];

/// Runs `work` on the current thread and returns the statements that it ran.
pub(super) async fn record(work: impl Future<Output = ()>) -> Vec<Statement> {
    let statements = Arc::default();
    let recorder = Recorder(Arc::clone(&statements));
    let recording = tracing::subscriber::set_default(recorder);
    work.await;
    drop(recording);
    let statements: Vec<Statement> = statements.lock().expect("not poisoned").clone();
    statements
}

struct Recorder(Arc<Mutex<Vec<Statement>>>);

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        [STATEMENTS, NOTICES].contains(&metadata.target())
    }

    fn event(&self, event: &Event<'_>) {
        let name = if event.metadata().target() == STATEMENTS { "sql" } else { "message" };
        let mut field = FieldText { name, text: String::new() };
        event.record(&mut field);
        let mut statements = self.0.lock().expect("not poisoned");
        if event.metadata().target() == STATEMENTS {
            statements.push((field.text, Vec::new()));
        } else if let Some((_, plan)) = field.text.split_once("Query Text: ")
            && let Some((text, lines)) = statements.last_mut()
        {
            // The message holds the statement's text, which has no line break, and below it the plan.
            lines.extend(plan.lines().skip(text.lines().count()).map(|line| with_fixed_values(without_costs(line))));
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Removes the estimated costs from a line of a plan, because they change with every run.
fn without_costs(line: &str) -> &str {
    line.split_once("  (cost=").map_or(line, |(node, _)| node)
}

/// Replaces the values of a plan that differ in each run: hashes, ids, times and snapshots.
fn with_fixed_values(line: &str) -> String {
    let (mut shown, mut rest) = (String::new(), line);
    while let Some((before, behind)) = rest.split_once('\'')
        && let Some((value, after)) = behind.split_once('\'')
    {
        let is_random = RANDOM_TYPES.iter().any(|kind| after.starts_with(kind));
        shown.extend([before, "'", if is_random { "…" } else { value }, "'"]);
        rest = after;
    }
    shown + rest
}

/// Reads one field of an event as text.
struct FieldText {
    name: &'static str,
    text: String,
}

impl Visit for FieldText {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == self.name {
            value.clone_into(&mut self.text);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == self.name {
            self.text = format!("{value:?}");
        }
    }
}
