//! One connection to either engine, which records whether it can be reused.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Error as SqlxError, Executor, Row as _};

use super::row::Row;
use super::value::{self, Value};

/// Attempts to open a file that another connection has locked.
const OPEN_ATTEMPTS: u32 = 100;
/// Pause between two attempts.
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// The address of a connection, and its settings.
#[derive(Clone)]
pub(crate) enum Target {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PostgresTarget>),
}

/// A PostgreSQL server, and how its connections are set up.
#[derive(Clone)]
pub(crate) struct PostgresTarget {
    pub(crate) server: PgConnectOptions,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) setup: Setup,
}

/// When the settings of a connection are made.
#[derive(Clone)]
pub(crate) enum Setup {
    /// By these statements, once on each new connection.
    Session(String),
    /// By these statements, at the beginning of each transaction: a pooler may give each transaction another
    /// connection to the server.
    Transaction(Arc<str>),
}

/// A connection to SQLite or PostgreSQL.
pub(crate) struct Connection {
    driver: Driver,
    /// Set while a statement runs. If it is still set afterwards, the statement was cancelled or the server went away
    /// in the middle, and the next response may belong to an earlier statement.
    busy: bool,
    /// Set between BEGIN and COMMIT or ROLLBACK.
    pub(crate) in_transaction: bool,
    /// What begins each transaction behind a pooler in transaction mode; `None` on a connection of its own.
    pooled: Option<Arc<str>>,
}

enum Driver {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    /// Connects and runs the setup statements.
    pub(crate) async fn open(target: &Target) -> Result<Self, SqlxError> {
        let (driver, pooled) = match target {
            Target::Sqlite(options) => (Driver::Sqlite(open_file(options).await?), None),
            Target::Postgres(target) => {
                let connecting = target.server.connect();
                let mut connection = match target.connect_timeout {
                    Some(limit) => {
                        tokio::time::timeout(limit, connecting).await.unwrap_or(Err(SqlxError::PoolTimedOut))?
                    }
                    None => connecting.await?,
                };
                let pooled = match &target.setup {
                    Setup::Session(setup) => {
                        connection.execute(sqlx::raw_sql(AssertSqlSafe(setup.as_str()))).await?;
                        None
                    }
                    Setup::Transaction(setup) => Some(Arc::clone(setup)),
                };
                (Driver::Postgres(connection), pooled)
            }
        };
        Ok(Self { driver, busy: false, in_transaction: false, pooled })
    }

    /// Returns whether the connection is in the state of a new one.
    pub(crate) fn is_clean(&self) -> bool {
        !self.busy && !self.in_transaction
    }

    /// Returns whether the connection has a session of its own on the server, on which settings, locks and LISTEN last.
    pub(crate) fn has_session(&self) -> bool {
        self.pooled.is_none()
    }

    /// Begins a transaction by the engine's statement.
    pub(crate) async fn begin(&mut self, statement: &str) -> Result<(), SqlxError> {
        match self.pooled.clone() {
            Some(setup) => self.script(&format!("{statement}; {setup}")).await?,
            None => self.script(statement).await?,
        }
        self.in_transaction = true;
        Ok(())
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn all(&mut self, text: Cow<'static, str>, values: Vec<Value>) -> Result<Vec<Row>, SqlxError> {
        if self.pooled.is_some() && !self.in_transaction {
            self.begin("BEGIN").await?;
            let outcome = Box::pin(self.all(text, values)).await;
            return self.end(outcome).await;
        }
        trace_statement(&text);
        self.busy = true;
        let sql = AssertSqlSafe(text);
        // A named statement would stay on whichever connection the pooler chose.
        let named = self.pooled.is_none();
        let outcome = match &mut self.driver {
            Driver::Sqlite(connection) => {
                let values = value::for_sqlite(values).map_err(SqlxError::Encode)?;
                let rows = connection.fetch_all(sqlx::query_with(sql, values)).await;
                rows.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
            }
            Driver::Postgres(connection) => {
                let values = value::for_postgres(values).map_err(SqlxError::Encode)?;
                let rows = connection.fetch_all(sqlx::query_with(sql, values).persistent(named)).await;
                rows.map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
        };
        self.settle(outcome)
    }

    /// Runs a statement and returns the number of rows that it changed.
    pub(crate) async fn execute(&mut self, text: Cow<'static, str>, values: Vec<Value>) -> Result<u64, SqlxError> {
        if self.pooled.is_some() && !self.in_transaction {
            self.begin("BEGIN").await?;
            let outcome = Box::pin(self.execute(text, values)).await;
            return self.end(outcome).await;
        }
        trace_statement(&text);
        self.busy = true;
        let sql = AssertSqlSafe(text);
        // A named statement would stay on whichever connection the pooler chose.
        let named = self.pooled.is_none();
        let outcome = match &mut self.driver {
            Driver::Sqlite(connection) => {
                let values = value::for_sqlite(values).map_err(SqlxError::Encode)?;
                connection.execute(sqlx::query_with(sql, values)).await.map(|done| done.rows_affected())
            }
            Driver::Postgres(connection) => {
                let values = value::for_postgres(values).map_err(SqlxError::Encode)?;
                let done = connection.execute(sqlx::query_with(sql, values).persistent(named)).await;
                done.map(|done| done.rows_affected())
            }
        };
        self.settle(outcome)
    }

    /// Ends the transaction around a single statement.
    async fn end<T>(&mut self, outcome: Result<T, SqlxError>) -> Result<T, SqlxError> {
        let ended = self.script(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
        self.in_transaction = ended.is_err();
        let value = outcome?;
        ended.map(|()| value)
    }

    /// Returns the id of the server's process behind this connection. The statement is not prepared, so that it runs
    /// behind any pooler.
    pub(crate) async fn server_process(&mut self) -> Result<Option<i32>, SqlxError> {
        let Driver::Postgres(connection) = &mut self.driver else { return Ok(None) };
        self.busy = true;
        let row = connection.fetch_one(sqlx::raw_sql("SELECT pg_backend_pid() AS pid")).await;
        self.settle(row.and_then(|row| row.try_get("pid")))
    }

    /// Runs statements without parameters, one after the other.
    pub(crate) async fn script(&mut self, text: &str) -> Result<(), SqlxError> {
        self.busy = true;
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        let outcome = match &mut self.driver {
            Driver::Sqlite(connection) => connection.execute(sql).await.map(drop),
            Driver::Postgres(connection) => connection.execute(sql).await.map(drop),
        };
        self.settle(outcome)
    }

    /// Checks that the server still answers.
    pub(crate) async fn ping(&mut self) -> Result<(), SqlxError> {
        self.busy = true;
        let outcome = match &mut self.driver {
            Driver::Sqlite(connection) => connection.ping().await,
            Driver::Postgres(connection) => connection.ping().await,
        };
        self.settle(outcome)
    }

    /// Closes the connection with the protocol's farewell.
    pub(crate) async fn close(self) -> Result<(), SqlxError> {
        match self.driver {
            Driver::Sqlite(connection) => connection.close().await,
            Driver::Postgres(connection) => connection.close().await,
        }
    }

    /// Clears `busy` after a complete response, of which an error that the engine reports is one.
    fn settle<T>(&mut self, outcome: Result<T, SqlxError>) -> Result<T, SqlxError> {
        self.busy = match &outcome {
            Ok(_) => false,
            Err(SqlxError::Database(reported)) => closes_connection(reported.code().as_deref()),
            Err(_) => true,
        };
        outcome
    }
}

/// Logs a statement's text, without its values, which may be secret.
fn trace_statement(text: &str) {
    tracing::trace!(target: "portcullis_storage::statement", sql = text, "runs a statement");
}

/// Opens a SQLite file, again if it is locked: switching a new file to WAL fails at once, without waiting, while another
/// connection does the same.
async fn open_file(options: &SqliteConnectOptions) -> Result<SqliteConnection, SqlxError> {
    for _ in 0..OPEN_ATTEMPTS {
        match options.connect().await {
            Err(SqlxError::Database(reported)) if reported.code().as_deref() == Some("5") => {
                tokio::time::sleep(OPEN_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
    options.connect().await
}

/// Returns whether the connection is useless after this SQLSTATE. The server closes it after 57P01 to 57P05 (shutdown,
/// crash, idle too long), 08 (connection) and 25P03 (idle in a transaction too long). 25006 comes from a primary that
/// has become a standby: a new connection may lead to the new primary.
fn closes_connection(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        code.len() == 5 && (code.starts_with("57P") || code.starts_with("08") || code == "25P03" || code == "25006")
    })
}
