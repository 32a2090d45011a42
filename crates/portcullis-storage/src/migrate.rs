//! The schema's steps, embedded, and how a database is brought to another one.
//!
//! A step up only ever adds (expand/contract), so that the version before runs beside this one while replicas are
//! replaced. Each step is one transaction together with its entry in the ledger: an interrupted one leaves the schema
//! as it was.

mod ledger;
mod lock;
mod migrator;
mod snapshot;

use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;

pub use ledger::Applied;
pub use migrator::{MigrationStatus, Migrator, Pending, Step};

/// One step of the schema.
#[derive(Debug)]
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
    /// The oldest schema whose programs still run on this one.
    pub(crate) runs_since: i64,
}

/// Every step, oldest first. A published one is never edited.
pub(crate) static MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "initial",
        up: include_str!("../migrations/0001_initial.up.sql"),
        down: include_str!("../migrations/0001_initial.down.sql"),
        runs_since: 1,
    },
    Migration {
        version: 2,
        name: "identity",
        up: include_str!("../migrations/0002_identity.up.sql"),
        down: include_str!("../migrations/0002_identity.down.sql"),
        runs_since: 1,
    },
    Migration {
        version: 3,
        name: "idempotency",
        up: include_str!("../migrations/0003_idempotency.up.sql"),
        down: include_str!("../migrations/0003_idempotency.down.sql"),
        runs_since: 1,
    },
    Migration {
        version: 4,
        name: "jobs",
        up: include_str!("../migrations/0004_jobs.up.sql"),
        down: include_str!("../migrations/0004_jobs.down.sql"),
        runs_since: 1,
    },
];

/// The schema that a database has, 0 for an empty one. Only looks.
pub(crate) async fn schema_of(on: &mut DirectConnection) -> Result<i64, StoreError> {
    let applied = ledger::read(&on.runner, &mut on.connection).await?;
    Ok(applied.last().map_or(0, |last| last.version))
}

/// The schema that this program knows.
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
