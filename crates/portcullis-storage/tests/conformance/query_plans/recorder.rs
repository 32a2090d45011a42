//! Records the statements that a store runs, and the plans that PostgreSQL sends for them.

use std::sync::{Arc, Mutex};

use portcullis_testkit::{EventListener, field_text};
use tracing::Event;

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
    let statements: Arc<Mutex<Vec<Statement>>> = Arc::default();
    let heard = Arc::clone(&statements);
    let listener =
        EventListener::new(|target| [STATEMENTS, NOTICES].contains(&target), move |event| hear(event, &heard));
    let recording = tracing::subscriber::set_default(listener);
    work.await;
    drop(recording);
    let statements: Vec<Statement> = statements.lock().expect("not poisoned").clone();
    statements
}

/// Adds what an event tells of statements and plans.
fn hear(event: &Event<'_>, statements: &Mutex<Vec<Statement>>) {
    let mut statements = statements.lock().expect("not poisoned");
    if event.metadata().target() == STATEMENTS {
        statements.push((field_text(event, "sql"), Vec::new()));
    } else if let Some((_, plan)) = field_text(event, "message").split_once("Query Text: ")
        && let Some((text, lines)) = statements.last_mut()
    {
        // The message holds the statement's text, which has no line break, and below it the plan.
        lines.extend(plan.lines().skip(text.lines().count()).map(|line| with_fixed_values(without_costs(line))));
    }
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
