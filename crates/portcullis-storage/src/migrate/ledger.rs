//! The ledger: which migrations a database has had, when, and by which version of Portcullis.

use portcullis_model::{Clock, Timestamp};

use super::Migration;
use crate::engine::connection::Connection;
use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::statement::{Runner, Sql};

/// A migration that was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The migration's number.
    pub version: i64,
    /// The migration's name.
    pub name: String,
    /// When the migration was applied.
    pub at: Timestamp,
    /// The version of Portcullis that applied it; `None` for migrations from before versions were recorded.
    pub by: Option<String>,
    /// The oldest schema whose programs still run on it.
    pub runs_since: i64,
}

const CREATE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
  version {bigint} NOT NULL CONSTRAINT schema_migrations_version PRIMARY KEY,
  name {text} NOT NULL,
  applied_at {timestamp} NOT NULL,
  applied_by {text},
  runs_since {bigint}
){strict};";
/// Adds the columns that the first ledgers did not have.
const ADD_COLUMNS: &str = "ALTER TABLE schema_migrations ADD COLUMN applied_by {text};
ALTER TABLE schema_migrations ADD COLUMN runs_since {bigint};";

static ALL: Sql = Sql::select(
    "schema_migrations",
    "SELECT version, name, applied_at, applied_by, COALESCE(runs_since, version) AS runs_since \
     FROM schema_migrations ORDER BY version",
);
static ALL_OF_FIRST_FORM: Sql = Sql::select(
    "schema_migrations",
    "SELECT version, name, applied_at, NULL AS applied_by, version AS runs_since FROM schema_migrations ORDER BY version",
);
static ENTER: Sql = Sql::insert(
    "schema_migrations",
    "INSERT INTO schema_migrations (version, name, applied_at, applied_by, runs_since) VALUES ($1, $2, $3, $4, $5)",
);
static STRIKE: Sql = Sql::delete("schema_migrations", "DELETE FROM schema_migrations WHERE version = $1");

/// Returns the applied migrations, oldest first. It changes nothing, not even a ledger of the first form.
pub(super) async fn read(runner: &Runner, on: &mut Connection) -> Result<Vec<Applied>, StoreError> {
    if !has_column(runner, on, "version").await? {
        return Ok(Vec::new());
    }
    let sql = if has_column(runner, on, "runs_since").await? { &ALL } else { &ALL_OF_FIRST_FORM };
    let rows = runner.all(on, sql, vec![]).await?;
    rows.iter()
        .map(|row| {
            Ok(Applied {
                version: row.get("version")?,
                name: row.get("name")?,
                at: row.read("applied_at")?,
                by: row.get("applied_by")?,
                runs_since: row.get("runs_since")?,
            })
        })
        .collect()
}

/// Creates the ledger, or adds the columns that an old one lacks.
pub(super) async fn prepare(runner: &Runner, on: &mut Connection) -> Result<(), StoreError> {
    runner.script(on, "CREATE", "schema_migrations", &runner.dialect.schema(CREATE)).await?;
    if !has_column(runner, on, "runs_since").await? {
        runner.script(on, "ALTER", "schema_migrations", &runner.dialect.schema(ADD_COLUMNS)).await?;
    }
    Ok(())
}

/// Records a migration as applied.
pub(super) async fn enter(
    runner: &Runner,
    on: &mut Connection,
    migration: &Migration,
    clock: &Clock,
    by: &str,
) -> Result<(), StoreError> {
    let values = vec![
        migration.version.into(),
        migration.name.into(),
        clock.now().into(),
        by.into(),
        migration.runs_since.into(),
    ];
    runner.execute(on, &ENTER, values).await.map(|_| ())
}

/// Removes the record of a reverted migration.
pub(super) async fn remove_record(runner: &Runner, on: &mut Connection, version: i64) -> Result<(), StoreError> {
    runner.execute(on, &STRIKE, vec![version.into()]).await.map(|_| ())
}

/// Returns whether the ledger has a column; `false` also when there is no ledger.
async fn has_column(runner: &Runner, on: &mut Connection, column: &str) -> Result<bool, StoreError> {
    let text = match runner.dialect {
        Dialect::Sqlite => "SELECT count(*) AS n FROM pragma_table_info('schema_migrations') WHERE name = $1",
        Dialect::Postgres => {
            "SELECT count(*) AS n FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = 'schema_migrations' AND column_name = $1"
        }
    };
    let rows = runner.all(on, &Sql::select("schema", text), vec![column.into()]).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.count("n"))? > 0)
}
