//! The one place where statements run: measured, bounded in time, their errors counted.

use std::borrow::Cow;
use std::future::Future;
use std::time::{Duration, Instant};

use portcullis_telemetry::Metrics;
use sea_orm::{ConnectionTrait, DbErr, Statement, Value};

use crate::dialect::Dialect;
use crate::error::StoreError;
use crate::row::Row;

/// How long a statement may take before the database counts as unavailable: longer than any statement here
/// needs and than SQLite waits for another process's lock, so that only a dead peer reaches it.
const STATEMENT_LIMIT: Duration = Duration::from_secs(15);

/// One statement: its text, and the labels under which it is measured.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    pub(crate) operation: &'static str,
    pub(crate) table: &'static str,
    pub(crate) text: Cow<'static, str>,
}

impl Sql {
    pub(crate) const fn select(table: &'static str, text: &'static str) -> Self {
        Self { operation: "SELECT", table, text: Cow::Borrowed(text) }
    }

    pub(crate) const fn insert(table: &'static str, text: &'static str) -> Self {
        Self { operation: "INSERT", table, text: Cow::Borrowed(text) }
    }

    pub(crate) const fn update(table: &'static str, text: &'static str) -> Self {
        Self { operation: "UPDATE", table, text: Cow::Borrowed(text) }
    }

    pub(crate) const fn delete(table: &'static str, text: &'static str) -> Self {
        Self { operation: "DELETE", table, text: Cow::Borrowed(text) }
    }

    /// The same labels with a text made for the occasion.
    pub(crate) fn with_text(&self, text: String) -> Self {
        Self { text: Cow::Owned(text), ..*self }
    }

    /// Whether it only reads, so that it may run beside a writer.
    pub(crate) fn reads(&self) -> bool {
        self.operation == "SELECT"
    }
}

/// Where statements can run: a `Store` (each by itself) or a `Tx`.
pub(crate) trait Runs: Sync {
    /// Which engine this is.
    fn dialect(&self) -> Dialect;

    /// The value for the parameter of `dialect().now(…)`.
    fn now_value(&self) -> Value;

    /// Runs a statement and gives its rows.
    fn all(&self, sql: &Sql, values: Vec<Value>) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// Runs a statement and gives the number of rows it changed.
    fn execute(&self, sql: &Sql, values: Vec<Value>) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Runs a statement and gives its first row.
    fn one(&self, sql: &Sql, values: Vec<Value>) -> impl Future<Output = Result<Option<Row>, StoreError>> + Send {
        async move { Ok(self.all(sql, values).await?.into_iter().next()) }
    }
}

/// Runs statements on a connection and records each.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) dialect: Dialect,
    pub(crate) metrics: Metrics,
}

impl Runner {
    pub(crate) async fn all<C: ConnectionTrait>(
        &self,
        on: &C,
        sql: &Sql,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = self.measure(sql.operation, sql.table, on.query_all_raw(self.statement(sql, values))).await?;
        Ok(rows.into_iter().map(Row).collect())
    }

    pub(crate) async fn execute<C: ConnectionTrait>(
        &self,
        on: &C,
        sql: &Sql,
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        let done = self.measure(sql.operation, sql.table, on.execute_raw(self.statement(sql, values))).await?;
        Ok(done.rows_affected())
    }

    /// Awaits a driver's future, records how long it took, and turns its error into ours.
    pub(crate) async fn measure<T>(
        &self,
        operation: &'static str,
        table: &'static str,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let outcome = match tokio::time::timeout(STATEMENT_LIMIT, work).await {
            Ok(outcome) => outcome.map_err(StoreError::from),
            Err(_) => Err(StoreError::timed_out()),
        };
        self.metrics.database_query(operation, table, begun.elapsed());
        if let Err(error) = &outcome {
            self.metrics.database_error(operation, error.kind());
        }
        outcome
    }

    fn statement(&self, sql: &Sql, values: Vec<Value>) -> Statement {
        Statement::from_sql_and_values(self.dialect.backend(), sql.text.as_ref(), values)
    }
}
