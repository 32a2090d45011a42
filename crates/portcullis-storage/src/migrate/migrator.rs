//! Taking the steps: at the start of the server, and from the command line.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use portcullis_model::Clock;

use super::{Applied, MIGRATIONS, Migration, ledger, lock, snapshot};
use crate::engine::connect;
use crate::engine::connection::Connection;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::open_error::OpenError;
use crate::engine::options::{MigrateMode, StoreOptions};
use crate::engine::statement::Runner;
use crate::engine::url::DatabaseUrl;

/// How long one step may take: a step on large tables is slow, and interrupting it helps nobody.
const STEP_LIMIT: Duration = Duration::from_secs(86_400);

/// A database whose schema is looked at or changed, over a connection of its own.
pub struct Migrator {
    runner: Runner,
    connection: Connection,
    url: DatabaseUrl,
    clock: Clock,
    app_version: String,
    wait: Duration,
    steps: &'static [Migration],
}

/// Where a database stands.
#[derive(Clone, Debug)]
pub struct MigrationStatus {
    /// `sqlite` or `postgresql`.
    pub engine: &'static str,
    /// Where it is, without user and password.
    pub address: String,
    /// The schema it has; 0 when it is empty.
    pub found: i64,
    /// The schema this program knows.
    pub known: i64,
    /// The steps taken, oldest first.
    pub applied: Vec<Applied>,
    /// The steps not taken yet, in order.
    pub pending: Vec<Pending>,
    /// Whether this program can serve on it as it is.
    pub serves: bool,
}

/// A step not taken yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: &'static str,
    /// What it would run, in this engine's words.
    pub sql: String,
}

/// A step just taken.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
}

impl Migrator {
    /// Connects; changes nothing.
    pub async fn connect(options: &StoreOptions) -> Result<Self, OpenError> {
        Self::connect_with(options, MIGRATIONS).await
    }

    pub(super) async fn connect_with(options: &StoreOptions, steps: &'static [Migration]) -> Result<Self, OpenError> {
        Ok(Self {
            runner: Runner { limit: STEP_LIMIT, ..connect::runner(options) },
            connection: Box::pin(connect::open_unpooled(options)).await?,
            url: options.url.clone(),
            clock: options.clock.clone(),
            app_version: options.app_version.clone(),
            wait: options.migrate_wait,
            steps,
        })
    }

    /// Where the database stands.
    pub async fn status(&mut self) -> Result<MigrationStatus, OpenError> {
        let applied = ledger::read(&self.runner, &mut self.connection).await?;
        let found = applied.last().map_or(0, |last| last.version);
        let known = self.known();
        let pending = self.steps.iter().filter(|step| step.version > found).map(|step| Pending {
            version: step.version,
            name: step.name,
            sql: self.runner.dialect.schema(step.up),
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

    /// What the server does at its start: nothing on a schema that it knows, else as it was told.
    pub(crate) async fn prepare(&mut self, mode: MigrateMode) -> Result<(), OpenError> {
        let status = self.status().await?;
        if status.serves {
            return Ok(());
        }
        self.refuse_newer(&status)?;
        if mode == MigrateMode::Off {
            return Err(OpenError::OldSchema { found: status.found, known: status.known });
        }
        self.up(|step| {
            tracing::info!(version = step.version, name = step.name, took = ?step.took, "migrated the database");
        })
        .await
        .map(|_| ())
    }

    /// Takes every step that is left, one transaction each, and says where the snapshot is that was made before the
    /// first of them, if one was. Waits while another process migrates.
    pub async fn up(&mut self, mut told: impl FnMut(&Step)) -> Result<Option<PathBuf>, OpenError> {
        let held = lock::acquire(&self.runner, &mut self.connection, &self.url, self.wait).await?;
        let outcome = self.up_alone(&mut told).await;
        lock::release(&self.runner, &mut self.connection, held).await?;
        outcome
    }

    async fn up_alone(&mut self, told: &mut impl FnMut(&Step)) -> Result<Option<PathBuf>, OpenError> {
        // Another may have migrated while this one waited.
        let status = self.status().await?;
        self.refuse_newer(&status)?;
        let Some(next) = status.pending.first() else { return Ok(None) };
        let copy = if status.found > 0 { self.snapshot(next.version).await? } else { None };
        let steps = self.steps;
        for step in steps.iter().filter(|step| step.version > status.found) {
            if let Some(step) = self.take(step, Direction::Up).await? {
                told(&step);
            }
        }
        Ok(copy)
    }

    /// Takes steps back until the schema is `to`, newest first, one transaction each; what only the newer schema can
    /// hold is lost. Says where the snapshot is, if one was made.
    pub async fn down(&mut self, to: i64, mut told: impl FnMut(&Step)) -> Result<Option<PathBuf>, OpenError> {
        let held = lock::acquire(&self.runner, &mut self.connection, &self.url, self.wait).await?;
        let outcome = self.down_alone(to, &mut told).await;
        lock::release(&self.runner, &mut self.connection, held).await?;
        outcome
    }

    async fn down_alone(&mut self, to: i64, told: &mut impl FnMut(&Step)) -> Result<Option<PathBuf>, OpenError> {
        let status = self.status().await?;
        self.refuse_newer(&status)?;
        if status.found <= to {
            return Ok(None);
        }
        let copy = self.snapshot(status.found).await?;
        let steps = self.steps;
        for step in steps.iter().rev().filter(|step| step.version > to && step.version <= status.found) {
            if let Some(step) = self.take(step, Direction::Down).await? {
                told(&step);
            }
        }
        Ok(copy)
    }

    /// Returns its connection, for another look at the same database.
    pub(crate) fn into_connection(self) -> DirectConnection {
        DirectConnection { runner: self.runner, connection: self.connection }
    }

    /// Takes leave of the database.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a database connection did not close cleanly");
        }
    }

    /// Takes a step; `None` when another process has taken it meanwhile.
    async fn take(&mut self, step: &'static Migration, direction: Direction) -> Result<Option<Step>, OpenError> {
        let Migration { version, name, .. } = *step;
        let begun = Instant::now();
        let taken = self.take_in_transaction(step, direction).await;
        if self.connection.in_transaction {
            let undone = self.runner.script(&mut self.connection, "ROLLBACK", "transaction", "ROLLBACK").await;
            self.connection.in_transaction = undone.is_err();
        }
        let taken = taken.map_err(|source| OpenError::of_step(source, version, name, &self.url))?;
        Ok(taken.then(|| Step { version, name, took: begun.elapsed() }))
    }

    async fn take_in_transaction(
        &mut self,
        step: &'static Migration,
        direction: Direction,
    ) -> Result<bool, crate::StoreError> {
        let (runner, on) = (&self.runner, &mut self.connection);
        runner.script(on, "BEGIN", "transaction", runner.dialect.begin()).await?;
        on.in_transaction = true;
        // On SQLite nothing but this transaction keeps others out.
        let is_taken = ledger::read(runner, on).await?.iter().any(|applied| applied.version == step.version);
        if is_taken == matches!(direction, Direction::Up) {
            return Ok(false);
        }
        ledger::prepare(runner, on).await?;
        match direction {
            Direction::Up => {
                runner.script(on, "CREATE", "schema", &runner.dialect.schema(step.up)).await?;
                ledger::enter(runner, on, step, &self.clock, &self.app_version).await?;
            }
            Direction::Down => {
                runner.script(on, "DROP", "schema", &runner.dialect.schema(step.down)).await?;
                ledger::strike(runner, on, step.version).await?;
            }
        }
        runner.script(on, "COMMIT", "transaction", "COMMIT").await?;
        on.in_transaction = false;
        Ok(true)
    }

    async fn snapshot(&mut self, before: i64) -> Result<Option<PathBuf>, OpenError> {
        let DatabaseUrl::Sqlite { path } = &self.url else { return Ok(None) };
        let copy = snapshot::take(&self.runner, &mut self.connection, path, before, self.clock.now()).await?;
        tracing::info!(copy = %copy.display(), "the database was copied before its schema changes");
        Ok(Some(copy))
    }

    fn refuse_newer(&self, status: &MigrationStatus) -> Result<(), OpenError> {
        if status.found <= status.known {
            return Ok(());
        }
        let by = status.applied.last().and_then(|last| last.by.clone());
        let copy = match &self.url {
            DatabaseUrl::Sqlite { path } => snapshot::newest(path, status.known + 1),
            DatabaseUrl::Postgres { .. } => None,
        };
        Err(OpenError::NewerSchema { found: status.found, known: status.known, by, copy })
    }

    fn known(&self) -> i64 {
        self.steps.last().map_or(0, |last| last.version)
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

/// Whether a program of schema `known` runs on what the steps beyond it have made.
fn runs_on(applied: &[Applied], known: i64) -> bool {
    applied.iter().filter(|step| step.version > known).all(|step| step.runs_since <= known)
}

#[cfg(test)]
mod tests;
