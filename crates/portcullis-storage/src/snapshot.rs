//! All rows of one moment of a database, read table by table over a connection of its own, while others read and write.

mod error;
mod table_statements;

use portcullis_model::Timestamp;

use crate::engine::dialect::Dialect;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;
use crate::engine::options::StoreOptions;
use crate::engine::url::DatabaseUrl;
use crate::engine::value::Value;
use crate::migrate;
use crate::migrate::schema::{self, Table};
use crate::migrate::unfinished_move::is_unfinished;

pub use error::SnapshotError;

/// Rows in one page. At fifteen columns they are far below the limit of parameters of either engine.
pub(crate) const PAGE: usize = 1_000;

/// A snapshot of a database: everything that is read from it was there at the same moment. It locks nothing that others
/// wait for. On SQLite the log (`-wal`) cannot be cut back until it ends.
pub struct Snapshot {
    connection: DirectConnection,
    tables: Vec<Table>,
    begun_at: Timestamp,
}

impl Snapshot {
    /// Begins a snapshot of a database that has the newest schema.
    pub async fn open(options: &StoreOptions) -> Result<Self, SnapshotError> {
        let mut connection = connect(options).await?;
        let begun_at = options.clock.now();
        begin(&mut connection).await?;
        // SQLite's snapshot is that of the first reading.
        require_newest_schema(&mut connection).await?;
        Ok(Self { connection, tables: schema::tables(migrate::MIGRATIONS), begun_at })
    }

    /// When the snapshot was begun.
    pub fn begun_at(&self) -> Timestamp {
        self.begun_at
    }

    /// The database's engine: `sqlite` or `postgresql`.
    pub fn engine(&self) -> &'static str {
        self.connection.runner.dialect.name()
    }

    /// Returns the version of the schema that the database had when the snapshot began.
    pub fn schema_version(&self) -> i64 {
        migrate::known()
    }

    /// All tables; one that refers to another comes after it.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Counts the rows of the table at this position.
    pub async fn count(&mut self, table: usize) -> Result<u64, SnapshotError> {
        Ok(self.connection.count(self.tables[table].name).await?)
    }

    /// Returns a fact about the installation.
    pub async fn instance_value(&mut self, key: &str) -> Result<Option<String>, SnapshotError> {
        let text = "SELECT value FROM instance WHERE key = $1".to_owned();
        let rows = self.connection.all(text, vec![key.into()]).await?;
        Ok(rows.first().map(|row| row.read("value")).transpose()?)
    }

    /// Reads the rows of the table at this position, in the order of their keys.
    pub fn rows(&mut self, table: usize) -> TableRows<'_> {
        TableRows { connection: &mut self.connection, table: &self.tables[table], after: Vec::new(), finished: false }
    }

    /// Ends the snapshot.
    pub async fn close(self) {
        self.connection.close().await;
    }
}

/// The rows of a table, in pages.
pub struct TableRows<'a> {
    connection: &'a mut DirectConnection,
    table: &'a Table,
    after: Vec<Value>,
    finished: bool,
}

impl TableRows<'_> {
    /// Returns the next rows, each with a value for each column; `None` after the last one.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Vec<Value>>>, SnapshotError> {
        if self.finished {
            return Ok(None);
        }
        let rows = page(self.connection, self.table, &self.after).await?;
        self.finished = rows.len() < PAGE;
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = self.table.key_of(last);
        Ok(Some(rows))
    }
}

/// Connects to a database for reading it as a whole.
pub(crate) async fn connect(options: &StoreOptions) -> Result<DirectConnection, SnapshotError> {
    if let DatabaseUrl::Sqlite { path } = &options.url
        && !path.exists()
    {
        return Err(SnapshotError::NoDatabase { path: path.clone() });
    }
    DirectConnection::open_read_only(options).await.map_err(SnapshotError::Open)
}

/// Refuses an older or newer schema than this version's, and a database that a move has not filled yet.
pub(crate) async fn require_newest_schema(connection: &mut DirectConnection) -> Result<(), SnapshotError> {
    let (found, known) = (migrate::schema_of(connection).await?, migrate::known());
    if found != known {
        return Err(SnapshotError::Schema { found, known });
    }
    match is_unfinished(connection).await? {
        true => Err(SnapshotError::Unfinished),
        false => Ok(()),
    }
}

/// Begins the transaction of a snapshot.
pub(crate) async fn begin(connection: &mut DirectConnection) -> Result<(), StoreError> {
    let begin = match connection.runner.dialect {
        Dialect::Sqlite => "BEGIN",
        // Reading all of a large database takes longer than a connection may idle.
        Dialect::Postgres => {
            "SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        }
    };
    connection.script("BEGIN", begin).await
}

/// Reads the next rows of a table after a key, in the order of its keys.
pub(crate) async fn page(
    connection: &mut DirectConnection,
    table: &Table,
    after: &[Value],
) -> Result<Vec<Vec<Value>>, StoreError> {
    let rows = connection.all(table.page(!after.is_empty(), PAGE), after.to_vec()).await?;
    rows.iter().map(|row| table.read(row)).collect()
}
