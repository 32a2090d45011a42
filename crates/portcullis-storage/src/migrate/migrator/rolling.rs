//! Whether a rolling upgrade or downgrade to this program is possible: whether it runs beside the programs that serve on the
//! database now, while they are replaced one by one.

use super::super::lock;
use super::{MigrationStatus, Migrator, concurrent};
use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::open_error::OpenError;
use crate::engine::options::MigrateMode;
use crate::engine::statement::Sql;
use crate::migrate::Migration;

static INCOMPLETE_INDEXES: Sql = Sql::select(
    "schema",
    "SELECT CAST(c.relname AS TEXT) AS name FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = current_schema() AND NOT i.indisvalid ORDER BY 1",
);

/// Why this program must not run beside those that serve on the database now: one sentence, and a [`hint`](Self::hint).
#[derive(Debug, thiserror::Error)]
pub enum RollingObstacle {
    /// A pending step takes away what the programs of the present schema use.
    #[error(
        "step {version:04} ({name}) is a contract step: programs of schema {found}, which the database has, do not run on it"
    )]
    ContractStep {
        /// The step's number.
        version: i64,
        /// The step's name.
        name: &'static str,
        /// The schema of the database.
        found: i64,
        /// The oldest schema whose programs run on the step's.
        runs_since: i64,
    },
    /// Another process is migrating the database.
    #[error("another process ({holder}) is migrating the database")]
    Migrating {
        /// The process that migrates.
        holder: String,
    },
    /// A step that builds indexes was interrupted.
    #[error("a migration has not finished: the index {} is not complete", indexes.join(", "))]
    UnfinishedIndexes {
        /// The names of the indexes.
        indexes: Vec<String>,
    },
    /// This program would not start on the database as it is.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl RollingObstacle {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::ContractStep { version, runs_since, .. } if runs_since < version => format!(
                "first roll a version whose newest schema is {runs_since} or later and below {version}; or stop every \
                 server before this version starts"
            ),
            Self::ContractStep { .. } => "stop every server before this version starts".to_owned(),
            Self::Migrating { .. } => {
                "wait until it has finished and check again; `portcullis migrate status` shows the schema".to_owned()
            }
            Self::UnfinishedIndexes { .. } => {
                "run `portcullis migrate up`: it continues where the interrupted step stopped".to_owned()
            }
            Self::Open(error) => return error.hint(),
        })
    }
}

impl Migrator {
    /// Returns what prevents this program from running beside those that serve on the database now, assuming that they have
    /// the database's schema. Nothing prevents it on an empty database. It changes nothing.
    pub async fn rolling_obstacles(
        &mut self,
        status: &MigrationStatus,
        mode: MigrateMode,
    ) -> Result<Vec<RollingObstacle>, OpenError> {
        if let Err(newer) = self.refuse_newer(status)
            && !status.serves
        {
            return Ok(vec![newer.into()]);
        }
        if status.pending.is_empty() {
            return Ok(Vec::new());
        }
        let mut obstacles = Vec::new();
        if let Some(holder) = lock::holder_now(&self.runner, &mut self.connection, &self.url).await? {
            obstacles.push(RollingObstacle::Migrating { holder });
        } else {
            let indexes = self.incomplete_indexes(status).await?;
            if !indexes.is_empty() {
                obstacles.push(RollingObstacle::UnfinishedIndexes { indexes });
            }
        }
        if status.found > 0 {
            obstacles.extend(contract_steps(self.steps, status.found));
        }
        if mode == MigrateMode::Off {
            let (found, known) = (status.found, status.known);
            obstacles.push(OpenError::OldSchema { found, known, is_off: true }.into());
        }
        Ok(obstacles)
    }

    /// Returns the indexes of pending steps that are there but not complete.
    async fn incomplete_indexes(&mut self, status: &MigrationStatus) -> Result<Vec<String>, StoreError> {
        if self.runner.dialect == Dialect::Sqlite {
            return Ok(Vec::new());
        }
        let rows = self.runner.all(&mut self.connection, &INCOMPLETE_INDEXES, vec![]).await?;
        let names = rows.iter().map(|row| row.get("name")).collect::<Result<Vec<String>, _>>()?;
        let ours = |name: &String| {
            let mut texts = status.pending.iter().filter(|step| step.concurrent).map(|step| step.sql.as_str());
            texts.any(|text| concurrent::indexes(text).any(|index| index == *name))
        };
        Ok(names.into_iter().filter(ours).collect())
    }
}

/// Returns the pending steps on whose schema the programs of schema `found` do not run. A later step repeats the bound of an
/// earlier one, so only the steps that raise it are named.
fn contract_steps(steps: &'static [Migration], found: i64) -> impl Iterator<Item = RollingObstacle> {
    let pending = steps.iter().filter(move |step| step.version > found && step.runs_since > found);
    let mut raised = found;
    pending.filter(move |step| step.runs_since > std::mem::replace(&mut raised, step.runs_since)).map(move |step| {
        let Migration { version, name, runs_since, .. } = *step;
        RollingObstacle::ContractStep { version, name, found, runs_since }
    })
}
