//! One connection to either engine, which knows whether it can be used again.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Error as SqlxError, Executor};

use crate::row::Row;
use crate::value::{self, Value};

/// Attempts to open a file that another connection has locked, and the pause between two.
const OPENINGS: u32 = 100;
const OPENING_PAUSE: Duration = Duration::from_millis(20);

/// How to connect.
#[derive(Clone)]
pub(crate) enum Target {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres {
        server: Box<PgConnectOptions>,
        /// Run on each new connection.
        setup: String,
    },
}

/// A connection.
pub(crate) struct Connection {
    driver: Driver,
    /// Set while a statement runs. Still set afterwards, the statement was given up or the peer went away half-way,
    /// and what the connection says next may be the answer to something else.
    busy: bool,
    /// Between BEGIN and COMMIT or ROLLBACK.
    pub(crate) in_transaction: bool,
}

enum Driver {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> Result<Self, SqlxError> {
        let driver = match target {
            Target::Sqlite(options) => Driver::Sqlite(open_file(options).await?),
            Target::Postgres { server, setup } => {
                let mut connection = server.connect().await?;
                if !setup.is_empty() {
                    connection.execute(sqlx::raw_sql(AssertSqlSafe(setup.as_str()))).await?;
                }
                Driver::Postgres(connection)
            }
        };
        Ok(Self { driver, busy: false, in_transaction: false })
    }

    /// Whether the next statement would find it as a new one.
    pub(crate) fn is_clean(&self) -> bool {
        !self.busy && !self.in_transaction
    }

    /// Runs a statement and gives its rows.
    pub(crate) async fn all(&mut self, text: Cow<'static, str>, values: Vec<Value>) -> Result<Vec<Row>, SqlxError> {
        #[cfg(test)]
        self.explain(&text, &values).await;
        self.busy = true;
        let sql = AssertSqlSafe(text);
        let outcome = match &mut self.driver {
            Driver::Sqlite(connection) => {
                let values = value::for_sqlite(values).map_err(SqlxError::Encode)?;
                let rows = connection.fetch_all(sqlx::query_with(sql, values)).await;
                rows.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
            }
            Driver::Postgres(connection) => {
                let values = value::for_postgres(values).map_err(SqlxError::Encode)?;
                let rows = connection.fetch_all(sqlx::query_with(sql, values)).await;
                rows.map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
        };
        self.settle(outcome)
    }

    /// Runs a statement and gives the number of rows it changed.
    pub(crate) async fn execute(&mut self, text: Cow<'static, str>, values: Vec<Value>) -> Result<u64, SqlxError> {
        #[cfg(test)]
        self.explain(&text, &values).await;
        self.busy = true;
        let sql = AssertSqlSafe(text);
        let outcome = match &mut self.driver {
            Driver::Sqlite(connection) => {
                let values = value::for_sqlite(values).map_err(SqlxError::Encode)?;
                connection.execute(sqlx::query_with(sql, values)).await.map(|done| done.rows_affected())
            }
            Driver::Postgres(connection) => {
                let values = value::for_postgres(values).map_err(SqlxError::Encode)?;
                connection.execute(sqlx::query_with(sql, values)).await.map(|done| done.rows_affected())
            }
        };
        self.settle(outcome)
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

    /// Asks the peer for a sign of life.
    pub(crate) async fn ping(&mut self) -> Result<(), SqlxError> {
        self.busy = true;
        let outcome = match &mut self.driver {
            Driver::Sqlite(connection) => connection.ping().await,
            Driver::Postgres(connection) => connection.ping().await,
        };
        self.settle(outcome)
    }

    /// Takes leave of the peer.
    pub(crate) async fn close(self) -> Result<(), SqlxError> {
        match self.driver {
            Driver::Sqlite(connection) => connection.close().await,
            Driver::Postgres(connection) => connection.close().await,
        }
    }

    /// Notes the engine's plan for a statement, where a test listens.
    #[cfg(test)]
    async fn explain(&mut self, text: &str, values: &[Value]) {
        let Ok(plans) = crate::plans::EXPLAINED.try_with(std::sync::Arc::clone) else { return };
        let lines = match &mut self.driver {
            Driver::Sqlite(connection) => {
                let values = value::for_sqlite(values.to_vec()).expect("they are encoded next");
                let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
                let rows = connection.fetch_all(sqlx::query_with(sql, values)).await.expect("explains");
                rows.into_iter().map(|row| Row::Sqlite(row).get("detail").expect("a line")).collect()
            }
            Driver::Postgres(connection) => {
                let values = value::for_postgres(values.to_vec()).expect("they are encoded next");
                let sql = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) {text}"));
                let rows = connection.fetch_all(sqlx::query_with(sql, values)).await.expect("explains");
                rows.into_iter().map(|row| Row::Postgres(row).get("QUERY PLAN").expect("a line")).collect()
            }
        };
        plans.lock().expect("not poisoned").push((text.to_owned(), lines));
    }

    /// After an answer, of which an error that the engine reports is one, the connection is as good as before.
    fn settle<T>(&mut self, outcome: Result<T, SqlxError>) -> Result<T, SqlxError> {
        self.busy = match &outcome {
            Ok(_) => false,
            Err(SqlxError::Database(reported)) => is_last_word(reported.code().as_deref()),
            Err(_) => true,
        };
        outcome
    }
}

/// Switching a new file to WAL fails at once, without waiting, while another connection does the same.
async fn open_file(options: &SqliteConnectOptions) -> Result<SqliteConnection, SqlxError> {
    for _ in 0..OPENINGS {
        match options.connect().await {
            Err(SqlxError::Database(reported)) if reported.code().as_deref() == Some("5") => {
                tokio::time::sleep(OPENING_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
    options.connect().await
}

/// Whether the server ends the connection with this SQLSTATE: 57P01 to 57P05 (shutdown, crash, idle too long), 08
/// (connection), 25P03 (idle in a transaction too long). 25006 is of a primary that has become a standby, to which a
/// new connection may no longer lead.
fn is_last_word(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        code.len() == 5 && (code.starts_with("57P") || code.starts_with("08") || code == "25P03" || code == "25006")
    })
}
