//! The schema's versions, embedded, applied in order in one transaction under a lock.
//!
//! A migration only ever adds (expand/contract), so that this version and the
//! next run side by side. One replica migrates while the others wait.

use portcullis_model::Clock;

use crate::OpenError;
use crate::connection::Connection;
use crate::dialect::Lock;
use crate::engine::Engine;
use crate::error::StoreError;
use crate::statement::Sql;

/// One step of the schema.
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    pub(crate) body: &'static str,
}

/// Every step, oldest first. A published one is never edited.
pub(crate) static MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "initial", body: include_str!("../migrations/0001_initial.sql") }];

static VERSION: Sql =
    Sql::select("schema_migrations", "SELECT COALESCE(MAX(version), 0) AS version FROM schema_migrations");
static RECORD: Sql =
    Sql::insert("schema_migrations", "INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)");
const HISTORY: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
  version {bigint} NOT NULL CONSTRAINT schema_migrations_version PRIMARY KEY,
  name {text} NOT NULL,
  applied_at {timestamp} NOT NULL
){strict}";

/// Brings the schema up to date. A schema newer than this program is refused.
pub(crate) async fn migrate(engine: &Engine, clock: &Clock) -> Result<(), OpenError> {
    let known = MIGRATIONS.last().map_or(0, |last| last.version);
    let mut lease = engine.writer.acquire().await?;
    let found = version(engine, &mut lease.connection).await?;
    drop(lease);
    if found > known {
        return Err(OpenError::NewerSchema { found, known });
    }
    if found == known {
        return Ok(());
    }
    let runner = &engine.runner;
    let mut lease = engine.begin().await?;
    let on = &mut lease.connection;
    if let Some(text) = runner.dialect.lock() {
        runner.all(on, &Sql::select("locks", text), vec![Lock::Migrations.number().into()]).await?;
    }
    runner.script(on, "CREATE", "schema_migrations", &runner.dialect.schema(HISTORY)).await?;
    // Another replica may have migrated while this one waited for the lock.
    let found = version(engine, on).await?;
    if found > known {
        return Err(OpenError::NewerSchema { found, known });
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        let Migration { version, name, .. } = *migration;
        let failed = |source| OpenError::Migration { version, name, source };
        runner.script(on, "CREATE", "schema", &runner.dialect.schema(migration.body)).await.map_err(failed)?;
        let record = vec![version.into(), name.into(), clock.now().into()];
        runner.execute(on, &RECORD, record).await.map_err(failed)?;
        tracing::info!(version, name, "migrated the database");
    }
    runner.script(on, "COMMIT", "transaction", "COMMIT").await?;
    on.in_transaction = false;
    Ok(())
}

/// The schema's version, 0 for an empty database.
async fn version(engine: &Engine, on: &mut Connection) -> Result<i64, StoreError> {
    let exists = Sql::select("schema", engine.runner.dialect.table_exists());
    let rows = engine.runner.all(on, &exists, vec!["schema_migrations".into()]).await?;
    let tables = rows.first().map_or(Ok(0), |row| row.count("n"))?;
    if tables == 0 {
        return Ok(0);
    }
    let rows = engine.runner.all(on, &VERSION, vec![]).await?;
    rows.first().map_or(Ok(0), |row| row.get("version"))
}
