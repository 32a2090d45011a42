//! Moving a whole database to another one: every table from one consistent snapshot, in batches that are kept together
//! with how far they came, compared at the end by count and checksum as both databases hold them.

mod error;
mod progress;
mod sums;
mod tables;

use std::time::Duration;

use crate::connection::Connection;
use crate::dialect::Dialect;
use crate::engine::{self, Engine};
use crate::error::StoreError;
use crate::migrate::{self, Migrator};
use crate::open::StoreOptions;
use crate::statement::{Runner, Sql};
use crate::url::DatabaseUrl;
use crate::value::Value;

pub use error::TransferError;
use progress::Ledger;
pub(crate) use progress::is_unfinished;
pub use sums::Sum;
use tables::{TABLES, Table};

/// Rows in one batch: at fifteen columns far below what either engine takes in one statement.
const BATCH: usize = 1_000;
/// How long counting or emptying a table may take.
const PATIENCE: Duration = Duration::from_secs(86_400);

/// Told how a transfer goes on.
pub trait TransferProgress: Send {
    /// A table begins; some of its rows may have been carried by an earlier attempt.
    fn table(&mut self, name: &'static str, rows: u64, carried_before: u64);
    /// That many more rows of it are in the target for good.
    fn carried(&mut self, rows: u64);
    /// Everything is carried; both databases are read and compared.
    fn comparing(&mut self);
}

/// What became of a table.
#[derive(Clone, Debug)]
pub struct TransferredTable {
    /// Its name.
    pub name: &'static str,
    /// What both databases hold.
    pub sum: Sum,
}

/// Carries everything from one database to another, which must be empty, or hold what an earlier attempt left there.
/// With `restart`, what an earlier attempt left is thrown away first.
///
/// # Errors
/// Whatever happens, the source is as it was; what has been carried stays in the target, and the next attempt goes on
/// from there.
pub async fn transfer(
    from: &StoreOptions,
    to: &StoreOptions,
    restart: bool,
    told: &mut dyn TransferProgress,
) -> Result<Vec<TransferredTable>, TransferError> {
    if is_same(&from.url, &to.url) {
        return Err(TransferError::Same);
    }
    let mut source = Side::source(from).await?;
    let mut target = Side::target(to).await?;
    let mut ledger = Ledger::open(&mut target, &from.url.to_string(), restart).await?;
    for table in TABLES {
        carry(&mut source, &mut target, &mut ledger, table, told).await?;
    }
    told.comparing();
    let mut done = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let (read, written) = (sum(&mut source, table).await?, sum(&mut target, table).await?);
        if read != written {
            return Err(TransferError::Different { table: table.name, read, written, resumed: ledger.resumed });
        }
        done.push(TransferredTable { name: table.name, sum: written });
    }
    ledger.close(&mut target).await?;
    source.close().await;
    target.close().await;
    Ok(done)
}

/// A file is the same by whatever name. Of two names for one server no more is known, which does no harm: a target that
/// holds the source's rows is not empty.
fn is_same(from: &DatabaseUrl, to: &DatabaseUrl) -> bool {
    match (from, to) {
        (DatabaseUrl::Sqlite { path: from }, DatabaseUrl::Sqlite { path: to }) => {
            from == to || from.canonicalize().is_ok_and(|from| to.canonicalize().is_ok_and(|to| from == to))
        }
        _ => from.to_string() == to.to_string(),
    }
}

/// One of the two databases.
pub(crate) struct Side {
    pub(crate) runner: Runner,
    pub(crate) connection: Connection,
}

impl Side {
    /// Reads everything as it is at this moment, whoever goes on writing.
    async fn source(options: &StoreOptions) -> Result<Self, TransferError> {
        if let DatabaseUrl::Sqlite { path } = &options.url
            && !path.exists()
        {
            return Err(TransferError::NoSource { path: path.clone() });
        }
        let connection = Box::pin(Engine::connect_to_read(options)).await.map_err(TransferError::Source)?;
        let mut side = Self { runner: engine::runner(options), connection };
        let begin = match side.runner.dialect {
            Dialect::Sqlite => "BEGIN",
            // Reading all of a large database takes longer than a connection may idle.
            Dialect::Postgres => {
                "SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
            }
        };
        side.script("BEGIN", begin).await?;
        let (found, known) = (migrate::schema_of(&mut side).await?, migrate::known());
        if found != known {
            return Err(TransferError::SourceSchema { found, known });
        }
        if is_unfinished(&mut side).await? {
            return Err(TransferError::SourceUnfinished);
        }
        Ok(side)
    }

    async fn target(options: &StoreOptions) -> Result<Self, TransferError> {
        let mut migrator = Migrator::connect(options).await.map_err(TransferError::Target)?;
        let migrated = Box::pin(migrator.up(|_| ())).await;
        migrator.close().await;
        migrated.map_err(TransferError::Target)?;
        Self::connect(options).await.map_err(TransferError::Target)
    }

    async fn connect(options: &StoreOptions) -> Result<Self, crate::OpenError> {
        let connection = Box::pin(Engine::connect_alone(options)).await?;
        Ok(Self { runner: engine::runner(options), connection })
    }

    pub(crate) async fn script(&mut self, operation: &'static str, text: &str) -> Result<(), StoreError> {
        self.runner.script(&mut self.connection, operation, "transfer", text).await
    }

    pub(crate) async fn execute(&mut self, text: String, values: Vec<Value>) -> Result<u64, StoreError> {
        let sql = Sql::insert("transfer", "").with_text(text);
        self.runner.execute(&mut self.connection, &sql, values).await
    }

    pub(crate) async fn all(&mut self, text: String, values: Vec<Value>) -> Result<Vec<crate::row::Row>, StoreError> {
        let sql = Sql::select("transfer", "").with_text(text);
        self.runner.all(&mut self.connection, &sql, values).await
    }

    /// Without the limit of time that other statements have: what walks through a large table is slow.
    pub(crate) async fn script_patiently(&mut self, operation: &'static str, text: &str) -> Result<(), StoreError> {
        self.patient().script(&mut self.connection, operation, "transfer", text).await
    }

    pub(crate) async fn count(&mut self, table: &str) -> Result<u64, StoreError> {
        let sql = Sql::select("transfer", "").with_text(format!("SELECT count(*) AS n FROM {table}"));
        let rows = self.patient().all(&mut self.connection, &sql, vec![]).await?;
        rows.first().map_or(Ok(0), |row| row.count("n"))
    }

    fn patient(&self) -> Runner {
        Runner { limit: PATIENCE, ..self.runner.clone() }
    }

    /// The next rows of a table after a key, in the order of its keys.
    async fn page(&mut self, table: &Table, after: &[Value]) -> Result<Vec<Vec<Value>>, StoreError> {
        let rows = self.all(table.page(!after.is_empty(), BATCH), after.to_vec()).await?;
        rows.iter().map(|row| table.read(row)).collect()
    }

    pub(crate) async fn close(self) {
        // Both are done; a farewell that fails changes nothing.
        let _ = self.connection.close().await;
    }
}

async fn carry(
    source: &mut Side,
    target: &mut Side,
    ledger: &mut Ledger,
    table: &'static Table,
    told: &mut dyn TransferProgress,
) -> Result<(), TransferError> {
    let (mut after, carried) = ledger.position(table)?;
    told.table(table.name, source.count(table.name).await?, carried);
    loop {
        let rows = source.page(table, &after).await?;
        let Some(last) = rows.last() else { break };
        after = table.key_of(last);
        let count = rows.len();
        let values: Vec<Value> = rows.into_iter().flatten().collect();
        target.script("BEGIN", target.runner.dialect.begin()).await?;
        let written = target.execute(table.insert(target.runner.dialect, count), values).await;
        let noted = match written {
            Ok(_) => ledger.note(target, table, &after, count).await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            let _ = target.script("ROLLBACK", "ROLLBACK").await;
            let resumed = ledger.resumed;
            return Err(match error {
                StoreError::Conflict(_) => TransferError::Clash { table: table.name, resumed, source: error },
                error => error.into(),
            });
        }
        target.script("COMMIT", "COMMIT").await?;
        told.carried(count as u64);
    }
    if let Some(sequence) = table.sequence.filter(|_| target.runner.dialect == Dialect::Postgres) {
        // New entries continue behind those that were carried.
        let text = format!(
            "SELECT CAST(setval(pg_get_serial_sequence('{0}', '{sequence}'), GREATEST((SELECT MAX({sequence}) FROM {0}), 1)) AS BIGINT) AS n",
            table.name
        );
        target.all(text, vec![]).await?;
    }
    Ok(())
}

async fn sum(side: &mut Side, table: &'static Table) -> Result<Sum, StoreError> {
    let mut sum = Sum::default();
    let mut after = Vec::new();
    loop {
        let rows = side.page(table, &after).await?;
        let Some(last) = rows.last() else { return Ok(sum) };
        after = table.key_of(last);
        for row in &rows {
            sum.add(row);
        }
    }
}

#[cfg(test)]
mod tests;
