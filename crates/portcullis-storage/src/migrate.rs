//! The migrations of the schema, and how they are applied and reverted.
//!
//! A migration only adds (expand/contract), so that programs of the previous schema run beside those of the new one while
//! replicas are replaced. Each migration is one transaction together with its entry in the ledger, so that an interrupted
//! one leaves the schema as it was; those that build indexes beside running programs (`concurrent`) go on where they stopped.

mod concurrent;
mod ledger;
mod lock;
mod migrator;
#[cfg(test)]
mod rules;
pub(crate) mod schema;
mod snapshot;
pub(crate) mod unfinished_move;

use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;

pub use ledger::Applied;
pub use migrator::{MigrationStatus, Migrator, Pending, RollingObstacle, Step};

/// A migration of the schema.
#[derive(Debug)]
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
    /// The oldest schema whose programs still run on this one.
    pub(crate) runs_since: i64,
}

/// All migrations, oldest first. The build script finds them in `migrations/`. A released one is never edited, except its
/// comments.
pub(crate) static MIGRATIONS: &[Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// Returns the schema that a database has, 0 for an empty one. It changes nothing.
pub(crate) async fn schema_of(on: &mut DirectConnection) -> Result<i64, StoreError> {
    let applied = ledger::read(&on.runner, &mut on.connection).await?;
    Ok(applied.last().map_or(0, |last| last.version))
}

/// Returns the newest schema that this program supports.
pub(crate) fn known() -> i64 {
    MIGRATIONS.last().map_or(0, |last| last.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::dialect::Dialect;

    #[test]
    fn every_placeholder_is_known_to_both_engines() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            for migration in MIGRATIONS {
                for text in [dialect.schema(migration.up), dialect.schema(migration.down)] {
                    assert!(!text.contains('{') && !text.contains('}'), "{dialect:?}: {}", migration.name);
                }
            }
        }
    }
}
