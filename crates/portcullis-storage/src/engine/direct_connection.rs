//! A connection of its own, outside the pools: for migrations and for moves between databases.

use std::time::Duration;

use super::connect;
use super::connection::Connection;
use super::error::StoreError;
use super::open_error::OpenError;
use super::options::StoreOptions;
use super::row::Row;
use super::statement::{Runner, Sql};
use super::value::Value;

/// Limit on a statement that reads or empties a whole table, which is slow on a large one.
const WHOLE_TABLE_LIMIT: Duration = Duration::from_secs(86_400);

/// A connection and what runs statements on it.
pub(crate) struct DirectConnection {
    pub(crate) runner: Runner,
    pub(crate) connection: Connection,
}

impl DirectConnection {
    /// Connects for reading and writing, see [`connect::open_unpooled`].
    pub(crate) async fn open(options: &StoreOptions) -> Result<Self, OpenError> {
        let connection = Box::pin(connect::open_unpooled(options)).await?;
        refuse_pooler(&connection, options)?;
        Ok(Self { runner: connect::runner(options), connection })
    }

    /// Connects for reading only, see [`connect::open_read_only`].
    pub(crate) async fn open_read_only(options: &StoreOptions) -> Result<Self, OpenError> {
        let connection = Box::pin(connect::open_read_only(options)).await?;
        refuse_pooler(&connection, options)?;
        Ok(Self { runner: connect::runner(options), connection })
    }

    /// Runs statements without parameters.
    pub(crate) async fn script(&mut self, operation: &'static str, text: &str) -> Result<(), StoreError> {
        self.runner.script(&mut self.connection, operation, "transfer", text).await
    }

    /// Runs a statement and returns the number of rows that it changed.
    pub(crate) async fn execute(&mut self, text: String, values: Vec<Value>) -> Result<u64, StoreError> {
        let sql = Sql::insert("transfer", "").with_text(text);
        self.runner.execute(&mut self.connection, &sql, values).await
    }

    /// Runs a query and returns its rows.
    pub(crate) async fn all(&mut self, text: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let sql = Sql::select("transfer", "").with_text(text);
        self.runner.all(&mut self.connection, &sql, values).await
    }

    /// Runs statements that go through whole tables, which may take up to a day.
    pub(crate) async fn whole_table_script(&mut self, operation: &'static str, text: &str) -> Result<(), StoreError> {
        self.whole_table_runner().script(&mut self.connection, operation, "transfer", text).await
    }

    /// Runs a statement that goes through a whole table, which may take up to a day.
    pub(crate) async fn whole_table(&mut self, text: String, values: Vec<Value>) -> Result<u64, StoreError> {
        let sql = Sql::update("transfer", "").with_text(text);
        self.whole_table_runner().execute(&mut self.connection, &sql, values).await
    }

    /// Counts the rows of a table, which may take up to a day.
    pub(crate) async fn count(&mut self, table: &str) -> Result<u64, StoreError> {
        let sql = Sql::select("transfer", "").with_text(format!("SELECT count(*) AS n FROM {table}"));
        let rows = self.whole_table_runner().all(&mut self.connection, &sql, vec![]).await?;
        rows.first().map_or(Ok(0), |row| row.count("n"))
    }

    /// Closes the connection. A failure to close is logged and otherwise has no effect.
    pub(crate) async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a database connection did not close cleanly");
        }
    }

    fn whole_table_runner(&self) -> Runner {
        Runner { limit: WHOLE_TABLE_LIMIT, ..self.runner.clone() }
    }
}

/// Refuses a pooler in transaction mode: a snapshot, and a move's transactions, need one session on the server.
fn refuse_pooler(connection: &Connection, options: &StoreOptions) -> Result<(), OpenError> {
    match connection.has_session() {
        true => Ok(()),
        false => Err(OpenError::NeedsSession { address: options.url.to_string() }),
    }
}
