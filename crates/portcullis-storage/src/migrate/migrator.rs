//! Applies and reverts migrations, when the server starts and from the command line.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use portcullis_model::Clock;

use super::{Applied, MIGRATIONS, Migration, concurrent, ledger, lock, schema, snapshot};
use crate::engine::connection::Connection;
use crate::engine::dialect::Dialect;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::open_error::OpenError;
use crate::engine::options::{MigrateMode, StoreOptions};
use crate::engine::statement::{Runner, Sql};
use crate::engine::url::DatabaseUrl;
use crate::engine::{connect, server_check};

/// Limit on one migration. Migrating a large table is slow, and interrupting it would lose the work.
const MIGRATION_LIMIT: Duration = Duration::from_secs(86_400);

static SCHEMA: Sql = Sql::select("schema", "SELECT count(*) AS n FROM pg_catalog.pg_namespace WHERE nspname = $1");

/// Reads and changes a database's schema, over a connection of its own.
pub struct Migrator {
    runner: Runner,
    connection: Connection,
    url: DatabaseUrl,
    clock: Clock,
    app_version: String,
    wait: Duration,
    steps: &'static [Migration],
}

/// The state of a database's schema.
#[derive(Clone, Debug)]
pub struct MigrationStatus {
    /// The engine's name: `sqlite` or `postgresql`.
    pub engine: &'static str,
    /// The database's address, without user and password.
    pub address: String,
    /// The schema that the database has; 0 when it is empty.
    pub found: i64,
    /// The newest schema that this program supports.
    pub known: i64,
    /// The applied migrations, oldest first.
    pub applied: Vec<Applied>,
    /// The pending migrations, in order.
    pub pending: Vec<Pending>,
    /// Whether this program can serve on the database as it is.
    pub serves: bool,
}

/// A migration that is not applied yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The migration's number.
    pub version: i64,
    /// The migration's name.
    pub name: &'static str,
    /// The SQL that it would run on this engine.
    pub sql: String,
    /// Whether it builds indexes beside running programs, which cannot be done in a transaction.
    pub concurrent: bool,
}

/// A migration that was just applied or reverted.
#[derive(Clone, Debug)]
pub struct Step {
    /// The migration's number.
    pub version: i64,
    /// The migration's name.
    pub name: &'static str,
    /// Duration of the migration.
    pub took: Duration,
}

impl Migrator {
    /// Connects to the database. It changes nothing.
    pub async fn connect(options: &StoreOptions) -> Result<Self, OpenError> {
        Self::connect_with(options, MIGRATIONS).await
    }

    pub(super) async fn connect_with(options: &StoreOptions, steps: &'static [Migration]) -> Result<Self, OpenError> {
        Ok(Self {
            runner: Runner { limit: MIGRATION_LIMIT, ..connect::runner(options) },
            connection: Box::pin(connect::open_unpooled(options)).await?,
            url: options.url.clone(),
            clock: options.clock.clone(),
            app_version: options.app_version.clone(),
            wait: options.migrate_wait,
            steps,
        })
    }

    /// Looks at the schema over a connection that is open already.
    pub(crate) fn over(on: DirectConnection, options: &StoreOptions) -> Self {
        Self {
            runner: on.runner,
            connection: on.connection,
            url: options.url.clone(),
            clock: options.clock.clone(),
            app_version: options.app_version.clone(),
            wait: options.migrate_wait,
            steps: MIGRATIONS,
        }
    }

    /// Returns the state of the schema. It changes nothing.
    pub async fn status(&mut self) -> Result<MigrationStatus, OpenError> {
        let applied = ledger::read(&self.runner, &mut self.connection).await?;
        let found = applied.last().map_or(0, |last| last.version);
        let known = self.known();
        let pending = self.steps.iter().filter(|step| step.version > found).map(|step| Pending {
            version: step.version,
            name: step.name,
            sql: self.runner.dialect.schema(step.up),
            concurrent: concurrent::is_concurrent(step.up, self.runner.dialect),
        });
        Ok(MigrationStatus {
            engine: self.url.engine(),
            address: self.url.to_string(),
            found,
            known,
            pending: pending.collect(),
            serves: found == known || (found > known && runs_on(&applied, known)),
            applied,
        })
    }

    /// Prepares the schema when the server starts: does nothing if the server can run on it, otherwise migrates or refuses
    /// as the mode says.
    pub(crate) async fn prepare(&mut self, mode: MigrateMode) -> Result<(), OpenError> {
        let status = self.status().await?;
        if status.serves {
            return Ok(());
        }
        self.refuse_newer(&status)?;
        if mode != MigrateMode::Auto {
            let is_off = mode == MigrateMode::Off;
            return Err(OpenError::OldSchema { found: status.found, known: status.known, is_off });
        }
        self.up(|step| {
            tracing::info!(version = step.version, name = step.name, took = ?step.took, "migrated the database");
        })
        .await
        .map(|_| ())
    }

    /// Applies every pending migration, one transaction each, and returns the path of the copy that was made before the
    /// first, if one was made. Waits while another process migrates.
    pub async fn up(&mut self, mut applied: impl FnMut(&Step)) -> Result<Option<PathBuf>, OpenError> {
        self.refuse_unwritable().await?;
        let held = lock::acquire(&self.runner, &mut self.connection, &self.url, self.wait).await?;
        let outcome = self.up_locked(&mut applied).await;
        lock::release(&self.runner, &mut self.connection, held).await?;
        outcome
    }

    async fn up_locked(&mut self, applied: &mut impl FnMut(&Step)) -> Result<Option<PathBuf>, OpenError> {
        // Another process may have migrated while this one waited.
        let status = self.status().await?;
        self.refuse_newer(&status)?;
        let Some(next) = status.pending.first() else { return Ok(None) };
        self.make_schema().await?;
        let copy = if status.found > 0 { self.snapshot(next.version).await? } else { None };
        let steps = self.steps;
        for step in steps.iter().filter(|step| step.version > status.found) {
            if let Some(step) = self.run(step, Direction::Up).await? {
                applied(&step);
            }
        }
        Ok(copy)
    }

    /// Reverts migrations until the schema is `to`, newest first, one transaction each. Data that only the newer schema
    /// can hold is lost. Returns the path of the copy that was made before, if one was made.
    pub async fn down(&mut self, to: i64, mut applied: impl FnMut(&Step)) -> Result<Option<PathBuf>, OpenError> {
        self.refuse_unwritable().await?;
        let held = lock::acquire(&self.runner, &mut self.connection, &self.url, self.wait).await?;
        let outcome = self.down_locked(to, &mut applied).await;
        lock::release(&self.runner, &mut self.connection, held).await?;
        outcome
    }

    async fn down_locked(&mut self, to: i64, applied: &mut impl FnMut(&Step)) -> Result<Option<PathBuf>, OpenError> {
        let status = self.status().await?;
        self.refuse_newer(&status)?;
        if status.found <= to {
            return Ok(None);
        }
        let copy = self.snapshot(status.found).await?;
        let steps = self.steps;
        for step in steps.iter().rev().filter(|step| step.version > to && step.version <= status.found) {
            if let Some(step) = self.run(step, Direction::Down).await? {
                applied(&step);
            }
        }
        Ok(copy)
    }

    /// Refuses a database that the program could not write to, or not with every right that it needs.
    pub(crate) async fn check_rights(&mut self) -> Result<(), OpenError> {
        self.refuse_unwritable().await?;
        if self.runner.dialect == Dialect::Sqlite {
            return Ok(());
        }
        let tables: Vec<&str> = schema::tables(self.steps).iter().map(|table| table.name).collect();
        server_check::check_table_rights(&self.runner, &mut self.connection, &tables, &self.url.to_string()).await
    }

    async fn refuse_unwritable(&mut self) -> Result<(), OpenError> {
        match &self.url {
            DatabaseUrl::Sqlite { .. } => Ok(()),
            url @ DatabaseUrl::Postgres { .. } => {
                server_check::refuse_read_only(&self.runner, &mut self.connection, &url.to_string()).await
            }
        }
    }

    /// Creates the schema that the address names, if there is none of that name.
    async fn make_schema(&mut self) -> Result<(), OpenError> {
        let DatabaseUrl::Postgres { url } = &self.url else { return Ok(()) };
        let Some(name) = url.schema() else { return Ok(()) };
        let rows = self.runner.all(&mut self.connection, &SCHEMA, vec![name.as_str().into()]).await?;
        if rows.first().map_or(Ok(0), |row| row.count("n"))? > 0 {
            return Ok(());
        }
        let statement = format!("CREATE SCHEMA {}", name.quoted());
        let made = self.runner.script(&mut self.connection, "CREATE", "schema", &statement).await;
        made.map_err(|source| OpenError::of_migration(source, 0, "schema", &self.url))
    }

    /// Returns its connection, for another look at the same database.
    pub(crate) fn into_connection(self) -> DirectConnection {
        DirectConnection { runner: self.runner, connection: self.connection }
    }

    /// Closes the connection.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a database connection did not close cleanly");
        }
    }

    /// Runs a migration; `None` when another process has run it meanwhile.
    async fn run(&mut self, step: &'static Migration, direction: Direction) -> Result<Option<Step>, OpenError> {
        let Migration { version, name, .. } = *step;
        let begun = Instant::now();
        let text = direction.text(step);
        if concurrent::is_concurrent(text, self.runner.dialect) {
            let text = self.runner.dialect.schema(text);
            let changed = concurrent::run(&self.runner, &mut self.connection, &text).await;
            changed.map_err(|source| OpenError::of_migration(source, version, name, &self.url))?;
        }
        let done = self.run_in_transaction(step, direction).await;
        if self.connection.in_transaction {
            let undone = self.runner.script(&mut self.connection, "ROLLBACK", "transaction", "ROLLBACK").await;
            self.connection.in_transaction = undone.is_err();
        }
        let done = done.map_err(|source| OpenError::of_migration(source, version, name, &self.url))?;
        Ok(done.then(|| Step { version, name, took: begun.elapsed() }))
    }

    async fn run_in_transaction(
        &mut self,
        step: &'static Migration,
        direction: Direction,
    ) -> Result<bool, crate::StoreError> {
        let (runner, on) = (&self.runner, &mut self.connection);
        runner.script(on, "BEGIN", "transaction", runner.dialect.begin()).await?;
        on.in_transaction = true;
        // On SQLite only this transaction keeps other processes out.
        let is_applied = ledger::read(runner, on).await?.iter().any(|applied| applied.version == step.version);
        if is_applied == matches!(direction, Direction::Up) {
            return Ok(false);
        }
        ledger::prepare(runner, on).await?;
        match direction {
            Direction::Up => {
                if !concurrent::is_concurrent(step.up, runner.dialect) {
                    runner.script(on, "CREATE", "schema", &runner.dialect.schema(step.up)).await?;
                }
                ledger::enter(runner, on, step, &self.clock, &self.app_version).await?;
            }
            Direction::Down => {
                if !concurrent::is_concurrent(step.down, runner.dialect) {
                    runner.script(on, "DROP", "schema", &runner.dialect.schema(step.down)).await?;
                }
                ledger::remove_record(runner, on, step.version).await?;
            }
        }
        runner.script(on, "COMMIT", "transaction", "COMMIT").await?;
        on.in_transaction = false;
        Ok(true)
    }

    async fn snapshot(&mut self, before: i64) -> Result<Option<PathBuf>, OpenError> {
        let DatabaseUrl::Sqlite { path } = &self.url else { return Ok(None) };
        let copy = snapshot::take(&self.runner, &mut self.connection, path, before, self.clock.now()).await?;
        tracing::info!(copy = %copy.display(), "copied the database before its migration");
        Ok(Some(copy))
    }

    fn refuse_newer(&self, status: &MigrationStatus) -> Result<(), OpenError> {
        if status.found <= status.known {
            return Ok(());
        }
        Err(status.newer_schema(match &self.url {
            DatabaseUrl::Sqlite { path } => snapshot::newest(path, status.known + 1),
            DatabaseUrl::Postgres { .. } => None,
        }))
    }

    fn known(&self) -> i64 {
        self.steps.last().map_or(0, |last| last.version)
    }
}

impl MigrationStatus {
    /// Returns the error for a schema that is too new for this program.
    pub(crate) fn newer_schema(&self, copy: Option<PathBuf>) -> OpenError {
        let mut unknown = self.applied.iter().filter(|step| step.version > self.known);
        let contract_step = unknown.find(|step| step.runs_since > self.known);
        OpenError::NewerSchema {
            found: self.found,
            known: self.known,
            by: self.applied.last().and_then(|last| last.by.clone()),
            contract_step: contract_step.map(|step| format!("{:04} ({})", step.version, step.name)),
            copy,
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

impl Direction {
    /// Returns the text that a migration runs in this direction.
    fn text(self, migration: &Migration) -> &'static str {
        match self {
            Self::Up => migration.up,
            Self::Down => migration.down,
        }
    }
}

/// Returns whether a program of schema `known` runs on the schema after these migrations.
fn runs_on(applied: &[Applied], known: i64) -> bool {
    applied.iter().filter(|step| step.version > known).all(|step| step.runs_since <= known)
}

pub use rolling::RollingObstacle;

mod rolling;
#[cfg(test)]
mod tests;
