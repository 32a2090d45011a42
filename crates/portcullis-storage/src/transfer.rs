//! Moving a whole database to another one (`portcullis move`): every table is copied from one consistent snapshot, in
//! batches that are committed together with the progress made, and at the end both databases are compared by count and
//! checksum.

mod checksum;
mod error;
mod progress;

use crate::engine::dialect::Dialect;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;
use crate::engine::options::StoreOptions;
use crate::engine::url::DatabaseUrl;
use crate::engine::value::Value;
use crate::migrate::schema::{self, Table};
use crate::migrate::{self, Migrator};
use crate::snapshot::{self, page};

pub use checksum::Checksum;
pub use error::TransferError;
use progress::Progress;

/// Is told of the progress of a move.
pub trait TransferProgress: Send {
    /// A table begins. `copied_before` of its rows were copied by an earlier attempt.
    fn table(&mut self, name: &'static str, rows: u64, copied_before: u64);
    /// This many more rows of the table are committed in the target.
    fn copied(&mut self, rows: u64);
    /// Every row is copied; both databases are now read and compared.
    fn comparing(&mut self);
}

/// A table that was moved.
#[derive(Clone, Debug)]
pub struct TransferredTable {
    /// The table's name.
    pub name: &'static str,
    /// Count and checksum of its rows in both databases.
    pub checksum: Checksum,
}

/// Copies everything from one database to another, which must be empty or hold what an earlier attempt left there. With
/// `restart`, what an earlier attempt left is deleted first.
///
/// # Errors
/// After any error the source is unchanged. Copied rows stay in the target, and the next attempt continues from there.
pub async fn transfer(
    from: &StoreOptions,
    to: &StoreOptions,
    restart: bool,
    listener: &mut dyn TransferProgress,
) -> Result<Vec<TransferredTable>, TransferError> {
    if is_same(&from.url, &to.url) {
        return Err(TransferError::Same);
    }
    let mut source = open_source(from).await?;
    let mut target = open_target(to).await?;
    snapshot::begin(&mut source).await?;
    let tables = schema::tables(migrate::MIGRATIONS);
    let mut progress = Progress::open(&mut target, &tables, &from.url.to_string(), restart).await?;
    for table in &tables {
        copy(&mut source, &mut target, &mut progress, table, listener).await?;
    }
    listener.comparing();
    let mut done = Vec::with_capacity(tables.len());
    for table in &tables {
        let (read, written) = (checksum_of(&mut source, table).await?, checksum_of(&mut target, table).await?);
        if read != written {
            return Err(TransferError::Different { table: table.name, read, written, resumed: progress.resumed });
        }
        done.push(TransferredTable { name: table.name, checksum: written });
    }
    progress.finish(&mut target).await?;
    source.close().await;
    target.close().await;
    Ok(done)
}

/// Returns whether both addresses lead to the same database. Two names of one file are recognised; two names of one
/// server are not, which does no harm, because a target that holds the source's rows is not empty.
fn is_same(from: &DatabaseUrl, to: &DatabaseUrl) -> bool {
    match (from, to) {
        (DatabaseUrl::Sqlite { path: from }, DatabaseUrl::Sqlite { path: to }) => {
            from == to || from.canonicalize().is_ok_and(|from| to.canonicalize().is_ok_and(|to| from == to))
        }
        _ => from.to_string() == to.to_string(),
    }
}

/// Connects to the database to move from. Its snapshot begins when the target has its schema: PostgreSQL builds an index
/// concurrently only after every older snapshot of the same database has ended, and the target may be another schema there.
async fn open_source(options: &StoreOptions) -> Result<DirectConnection, TransferError> {
    let mut source = snapshot::connect(options).await?;
    snapshot::require_newest_schema(&mut source).await?;
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

async fn copy(
    source: &mut DirectConnection,
    target: &mut DirectConnection,
    progress: &mut Progress,
    table: &Table,
    listener: &mut dyn TransferProgress,
) -> Result<(), TransferError> {
    let (mut after, copied) = progress.position(table)?;
    listener.table(table.name, source.count(table.name).await?, copied);
    loop {
        let rows = page(source, table, &after).await?;
        let Some(last) = rows.last() else { break };
        after = table.key_of(last);
        let count = rows.len();
        let values: Vec<Value> = rows.into_iter().flatten().collect();
        target.script("BEGIN", target.runner.dialect.begin()).await?;
        let written = target.execute(table.insert(target.runner.dialect, count), values).await;
        let recorded = match written {
            Ok(_) => progress.record(target, table, &after, count).await,
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            let _ = target.script("ROLLBACK", "ROLLBACK").await;
            let resumed = progress.resumed;
            return Err(match error {
                StoreError::Conflict(_) => TransferError::Conflict { table: table.name, resumed, source: error },
                error => error.into(),
            });
        }
        target.script("COMMIT", "COMMIT").await?;
        listener.copied(count as u64);
    }
    if let Some(sequence) = table.sequence.filter(|_| target.runner.dialect == Dialect::Postgres) {
        // New rows get numbers after those that were copied.
        let text = format!(
            "SELECT CAST(setval(pg_get_serial_sequence('{0}', '{sequence}'), GREATEST((SELECT MAX({sequence}) FROM {0}), 1)) AS BIGINT) AS n",
            table.name
        );
        target.all(text, vec![]).await?;
    }
    Ok(())
}

async fn checksum_of(on: &mut DirectConnection, table: &Table) -> Result<Checksum, StoreError> {
    let mut sum = Checksum::default();
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
