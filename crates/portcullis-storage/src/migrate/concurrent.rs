//! Building indexes on PostgreSQL beside running programs: `CREATE INDEX CONCURRENTLY` blocks no write, but cannot run in a
//! transaction and leaves an invalid index when it fails.
//!
//! So such a migration holds nothing but statements on indexes, each of which can run again: an index that is complete is
//! kept, an invalid one is dropped and built again. The ledger's entry follows when all are there.

use crate::engine::connect::MIGRATION_LOCK_TIMEOUT;
use crate::engine::connection::Connection;
use crate::engine::dialect::{CONCURRENTLY, Dialect};
use crate::engine::error::StoreError;
use crate::engine::statement::{Runner, Sql};

/// Waiting for old transactions blocks nobody here, so it is not limited.
const NO_LOCK_TIMEOUT: &str = "SET lock_timeout = 0";

static IS_VALID: Sql = Sql::select(
    "schema",
    "SELECT i.indisvalid AS valid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relname = $1",
);

/// The action of a statement, and the index that it creates or drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change<'s> {
    Create(&'s str),
    Drop(&'s str),
}

/// Returns whether this text of a migration, up or down, runs outside of a transaction on this engine.
pub(super) fn is_concurrent(text: &str, dialect: Dialect) -> bool {
    dialect == Dialect::Postgres && text.contains(CONCURRENTLY)
}

/// Runs the statements of a migration that have not run yet. `text` is in the engine's own words.
pub(super) async fn run(runner: &Runner, on: &mut Connection, text: &str) -> Result<(), StoreError> {
    runner.script(on, "SET", "settings", NO_LOCK_TIMEOUT).await?;
    for statement in statements(text) {
        let Some(change) = change_of(&statement) else {
            return Err(StoreError::corrupt(format!("a concurrent migration holds another statement: {statement}")));
        };
        match change {
            Change::Create(name) => match is_valid(runner, on, name).await? {
                Some(true) => tracing::info!(index = name, "the index exists already"),
                Some(false) => {
                    let drop = format!("DROP INDEX CONCURRENTLY {name}");
                    runner.script(on, "DROP", "schema", &drop).await?;
                    runner.script(on, "CREATE", "schema", &statement).await?;
                }
                None => runner.script(on, "CREATE", "schema", &statement).await?,
            },
            Change::Drop(name) => {
                if is_valid(runner, on, name).await?.is_some() {
                    runner.script(on, "DROP", "schema", &statement).await?;
                }
            }
        }
    }
    let limit = format!("SET {MIGRATION_LOCK_TIMEOUT}");
    runner.script(on, "SET", "settings", &limit).await
}

/// Returns the names of the indexes that a concurrent migration builds. `text` is in the engine's own words.
pub(super) fn indexes(text: &str) -> impl Iterator<Item = String> {
    statements(text).into_iter().filter_map(|statement| match change_of(&statement) {
        Some(Change::Create(name)) => Some(name.to_owned()),
        Some(Change::Drop(_)) | None => None,
    })
}

/// Returns whether an index is complete; `None` when there is none of this name.
async fn is_valid(runner: &Runner, on: &mut Connection, name: &str) -> Result<Option<bool>, StoreError> {
    let rows = runner.all(on, &IS_VALID, vec![name.into()]).await?;
    rows.first().map(|row| row.get("valid")).transpose()
}

/// Returns the statements of a text without its comments.
fn statements(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let lines = lines.join("\n");
    lines.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

/// Reads `CREATE [UNIQUE] INDEX CONCURRENTLY name …` and `DROP INDEX CONCURRENTLY name`; `None` for another statement.
fn change_of(statement: &str) -> Option<Change<'_>> {
    let words: Vec<&str> = statement.split_whitespace().collect();
    match words[..] {
        ["CREATE", "INDEX", "CONCURRENTLY", name, ..] | ["CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", name, ..] => {
            Some(Change::Create(name))
        }
        ["DROP", "INDEX", "CONCURRENTLY", name] => Some(Change::Drop(name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::MIGRATIONS;
    use super::*;

    /// The newest migration that was written before this rule.
    const BEFORE_THE_RULE: i64 = 4;
    /// Tables that stay small, so that building an index on them takes no time.
    const SMALL: [&str; 4] = ["instance", "jobs", "revocations", "signing_keys"];

    #[test]
    fn statements_are_split_and_recognised() {
        let text = "-- a; b\nCREATE INDEX CONCURRENTLY a ON t (x)\n  WHERE y IS NULL;\nDROP INDEX CONCURRENTLY b;\n";
        let statements = statements(text);
        assert_eq!(statements.len(), 2);
        assert_eq!(change_of(&statements[0]), Some(Change::Create("a")));
        assert_eq!(change_of(&statements[1]), Some(Change::Drop("b")));
        assert_eq!(change_of("CREATE UNIQUE INDEX CONCURRENTLY c ON t (x)"), Some(Change::Create("c")));
        assert_eq!(change_of("ALTER TABLE t ADD COLUMN x BIGINT"), None);
    }

    #[test]
    fn a_concurrent_migration_holds_only_statements_on_indexes() {
        let texts = MIGRATIONS.iter().flat_map(|migration| [migration.up, migration.down]);
        for text in texts.filter(|text| text.contains(CONCURRENTLY)) {
            for statement in statements(&Dialect::Postgres.schema(text)) {
                assert!(change_of(&statement).is_some(), "{statement}");
            }
        }
    }

    #[test]
    fn an_index_on_a_large_table_is_built_concurrently() {
        let mut known: BTreeSet<String> = SMALL.map(str::to_owned).into();
        for migration in MIGRATIONS.iter().filter(|migration| migration.version > BEFORE_THE_RULE) {
            let statements = statements(migration.up);
            known.extend(statements.iter().filter_map(|statement| {
                let name = statement.strip_prefix("CREATE TABLE ")?.split([' ', '(']).next()?;
                Some(name.to_owned())
            }));
            for statement in &statements {
                let words: Vec<&str> = statement.split_whitespace().collect();
                let (["CREATE", "INDEX", _, "ON", table, ..] | ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..]) =
                    words[..]
                else {
                    continue;
                };
                assert!(
                    known.contains(table),
                    "{:04} {}: {table} may be large, and every write to it waits for this index; write the statements \
                     on indexes into a migration of their own, as CREATE INDEX {{concurrently}} …: {statement}",
                    migration.version,
                    migration.name
                );
            }
        }
    }
}
