//! Moving a whole database to another one: every table from one consistent snapshot, in batches that are kept together
//! with how far they came, compared at the end by count and checksum as both databases hold them.

mod error;
mod progress;
mod sums;
mod tables;

use crate::engine::dialect::Dialect;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;
use crate::engine::options::StoreOptions;
use crate::engine::url::DatabaseUrl;
use crate::engine::value::Value;
use crate::migrate::{self, Migrator};

pub use error::TransferError;
use progress::Ledger;
pub(crate) use progress::is_unfinished;
pub use sums::Sum;
use tables::{TABLES, Table};

/// Rows in one batch: at fifteen columns far below what either engine takes in one statement.
const BATCH: usize = 1_000;

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
    let mut source = open_source(from).await?;
    let mut target = open_target(to).await?;
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

/// Connects to the database to move from. It is read as it is at this moment, whoever goes on writing.
async fn open_source(options: &StoreOptions) -> Result<DirectConnection, TransferError> {
    if let DatabaseUrl::Sqlite { path } = &options.url
        && !path.exists()
    {
        return Err(TransferError::NoSource { path: path.clone() });
    }
    let mut source = DirectConnection::open_read_only(options).await.map_err(TransferError::Source)?;
    let begin = match source.runner.dialect {
        Dialect::Sqlite => "BEGIN",
        // Reading all of a large database takes longer than a connection may idle.
        Dialect::Postgres => {
            "SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        }
    };
    source.script("BEGIN", begin).await?;
    let (found, known) = (migrate::schema_of(&mut source).await?, migrate::known());
    if found != known {
        return Err(TransferError::SourceSchema { found, known });
    }
    if is_unfinished(&mut source).await? {
        return Err(TransferError::SourceUnfinished);
    }
    Ok(source)
}

/// Connects to the database to move to, whose schema is created or brought up to date.
async fn open_target(options: &StoreOptions) -> Result<DirectConnection, TransferError> {
    let mut migrator = Migrator::connect(options).await.map_err(TransferError::Target)?;
    let migrated = Box::pin(migrator.up(|_| ())).await;
    migrator.close().await;
    migrated.map_err(TransferError::Target)?;
    DirectConnection::open(options).await.map_err(TransferError::Target)
}

/// Reads the next rows of a table after a key, in the order of its keys.
async fn page(on: &mut DirectConnection, table: &Table, after: &[Value]) -> Result<Vec<Vec<Value>>, StoreError> {
    let rows = on.all(table.page(!after.is_empty(), BATCH), after.to_vec()).await?;
    rows.iter().map(|row| table.read(row)).collect()
}

async fn carry(
    source: &mut DirectConnection,
    target: &mut DirectConnection,
    ledger: &mut Ledger,
    table: &'static Table,
    told: &mut dyn TransferProgress,
) -> Result<(), TransferError> {
    let (mut after, carried) = ledger.position(table)?;
    told.table(table.name, source.count(table.name).await?, carried);
    loop {
        let rows = page(source, table, &after).await?;
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

async fn sum(on: &mut DirectConnection, table: &'static Table) -> Result<Sum, StoreError> {
    let mut sum = Sum::default();
    let mut after = Vec::new();
    loop {
        let rows = page(on, table, &after).await?;
        let Some(last) = rows.last() else { return Ok(sum) };
        after = table.key_of(last);
        for row in &rows {
            sum.add(row);
        }
    }
}

#[cfg(test)]
mod tests;
