//! The page `docs/query-plans.md`.

use std::fmt::Write as _;

use super::recorder::Statement;

/// The statements of one use case.
pub(super) struct UseCase {
    pub(super) title: &'static str,
    pub(super) statements: Vec<Statement>,
}

/// Returns whether the page shows a statement. Those that only insert have no interesting plan.
pub(super) fn is_shown(text: &str) -> bool {
    !text.starts_with("INSERT")
}

pub(super) fn render(sqlite: &[UseCase], postgres: &[UseCase]) -> String {
    let mut page = String::from(
        "# Plans of the frequent statements\n\n\
         This page shows how each engine runs the frequent statements, on 5,000 users with a session each, after `ANALYZE`. A test\n\
         writes the page, and fails when one of the statements reads a whole table that grows. Statements that only insert are\n\
         left out. The list of all users is not here: on 5,000 users its count reads the whole table. Another test shows that the counts\n\
         of long lists can be read from an index alone.\n",
    );
    for (on_sqlite, on_postgres) in sqlite.iter().zip(postgres) {
        let _ = write!(page, "\n## {}\n", on_sqlite.title);
        for ((text, plan), (_, other)) in on_sqlite.statements.iter().zip(&on_postgres.statements) {
            if is_shown(text) {
                let (text, plan, other) = (wrapped(text), plan.join("\n"), other.join("\n"));
                let _ = write!(
                    page,
                    "\n```sql\n{text}\n```\n\nSQLite:\n\n```text\n{plan}\n```\n\nPostgreSQL:\n\n```text\n{other}\n```\n"
                );
            }
        }
    }
    page
}

/// Wraps a statement at 120 characters.
pub(super) fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is one");
        if last.len() + word.len() > 118 {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n")
}
