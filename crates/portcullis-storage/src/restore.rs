//! Filling an empty database with the rows of a backup: one transaction, so that it holds all of them or none.

mod aftercare;
mod error;

use portcullis_model::{Clock, Random};

use crate::engine::dialect::Dialect;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;
use crate::engine::open_error::OpenError;
use crate::engine::options::StoreOptions;
use crate::engine::value::Value;
use crate::migrate::schema::{self, Table};
use crate::migrate::{self, MIGRATIONS, Migrator};

pub use aftercare::Aftercare;
pub use error::RestoreError;

/// An empty database with the newest schema, and the transaction that fills it. Dropping it leaves the database empty.
pub struct RestoreTarget {
    connection: DirectConnection,
    /// The tables of the schema that the rows come from.
    tables: Vec<Table>,
    clock: Clock,
    random: Random,
}

impl RestoreTarget {
    /// Makes the schema of an empty database, and begins the transaction. `schema_version` is that of the rows.
    ///
    /// # Errors
    /// When the rows are of a newer schema or of one that this version has left behind, and when the database holds
    /// anything.
    pub async fn open(options: &StoreOptions, schema_version: i64) -> Result<Self, RestoreError> {
        let tables = tables_of(schema_version)?;
        make_schema(options).await?;
        let mut connection = DirectConnection::open(options).await.map_err(RestoreError::Open)?;
        begin(&mut connection).await?;
        for table in schema::tables(MIGRATIONS) {
            let rows = connection.count(table.name).await?;
            if rows > 0 {
                return Err(RestoreError::NotEmpty { table: table.name, rows });
            }
        }
        Ok(Self { connection, tables, clock: options.clock.clone(), random: options.random.clone() })
    }

    /// The tables that the rows come from, in the order in which they must be inserted.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Inserts rows into the table at this position, each with a value for each of its columns.
    pub async fn insert(&mut self, table: usize, rows: Vec<Vec<Value>>) -> Result<(), RestoreError> {
        let table = &self.tables[table];
        let count = rows.len();
        if count == 0 {
            return Ok(());
        }
        let values = rows.into_iter().flatten().collect();
        let text = table.insert(self.connection.runner.dialect, count);
        let inserted = self.connection.execute(text, values).await;
        inserted.map_err(|source| RestoreError::Insert { table: table.name, source })?;
        Ok(())
    }

    /// Ends what a backup must not bring back, and commits.
    pub async fn finish(mut self, aftercare: &Aftercare) -> Result<(), RestoreError> {
        aftercare.run(&mut self.connection, &self.tables, &self.clock, &self.random).await?;
        self.connection.script("COMMIT", "COMMIT").await?;
        self.connection.close().await;
        Ok(())
    }
}

/// Returns the tables of a schema whose rows fit into the newest one.
fn tables_of(schema_version: i64) -> Result<Vec<Table>, RestoreError> {
    let known = migrate::known();
    let runs_since = MIGRATIONS.last().map_or(0, |last| last.runs_since);
    if schema_version > known {
        return Err(RestoreError::NewerRows { found: schema_version, known });
    }
    // A program of that schema could write its rows into the newest one, and so can we.
    if schema_version < runs_since.max(1) {
        return Err(RestoreError::OlderRows { found: schema_version, oldest: runs_since });
    }
    let steps = MIGRATIONS.iter().take_while(|migration| migration.version <= schema_version).count();
    Ok(schema::tables(&MIGRATIONS[..steps]))
}

/// Makes the schema of an empty database. Another one is not touched.
async fn make_schema(options: &StoreOptions) -> Result<(), RestoreError> {
    let mut migrator = Migrator::connect(options).await.map_err(RestoreError::Open)?;
    let made = async {
        let status = migrator.status().await?;
        Ok::<i64, OpenError>(match status.found {
            0 => {
                Box::pin(migrator.up(|_| ())).await?;
                status.known
            }
            found => found,
        })
    }
    .await;
    migrator.close().await;
    match made.map_err(RestoreError::Open)? {
        found if found == migrate::known() => Ok(()),
        found => Err(RestoreError::Schema { found, known: migrate::known() }),
    }
}

/// Begins the transaction. No program reads or writes the tables before it ends.
async fn begin(connection: &mut DirectConnection) -> Result<(), StoreError> {
    let begin = match connection.runner.dialect {
        Dialect::Sqlite => connection.runner.dialect.begin().to_owned(),
        Dialect::Postgres => {
            let tables = schema::tables(MIGRATIONS);
            let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
            // Reading a large archive takes longer than a connection may idle.
            format!(
                "SET idle_in_transaction_session_timeout = 0; {}; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
                connection.runner.dialect.begin(),
                names.join(", ")
            )
        }
    };
    connection.script("BEGIN", &begin).await
}
