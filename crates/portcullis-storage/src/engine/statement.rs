//! Runs statements. Each is measured, limited in time, and its error counted.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_telemetry::Metrics;
use portcullis_telemetry::traces::{self, Span, SpanKind};

use super::availability::Availability;
use super::columns::Insert;
use super::connection::Connection;
use super::dialect::Dialect;
use super::error::StoreError;
use super::row::Row;
use super::value::Value;

/// What metrics call the table of a statement that has none.
pub(crate) const NO_TABLE: &str = "none";

/// A statement's text, and the labels under which it is measured.
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

    /// Returns a statement with the same labels and another text.
    pub(crate) fn with_text(&self, text: String) -> Self {
        Self { text: Cow::Owned(text), ..*self }
    }

    /// Returns an INSERT of one row that sets these columns, with the values of its parameters. `suffix` may say what
    /// happens on a conflict.
    pub(crate) fn insert_row(
        table: &'static str,
        columns: Vec<(&'static str, Value)>,
        suffix: &str,
    ) -> (Self, Vec<Value>) {
        let (names, values): (Vec<&str>, Vec<Value>) = columns.into_iter().unzip();
        let parameters: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
        let (names, parameters) = (names.join(", "), parameters.join(", "));
        let text = format!("INSERT INTO {table} ({names}) VALUES ({parameters}){suffix}");
        (Self::insert(table, "").with_text(text), values)
    }

    /// Returns whether the statement only reads, so that it may run on a reader.
    pub(crate) fn reads(&self) -> bool {
        self.operation == "SELECT"
    }
}

/// Runs statements: a `Store` runs each by itself, a `Tx` runs them in one transaction.
pub(crate) trait Executor: Sync {
    /// Returns the engine's dialect.
    fn dialect(&self) -> Dialect;

    /// Returns the value for the parameter of `dialect().now(…)`.
    fn now_value(&self) -> Value;

    /// Runs a statement and returns its rows.
    fn all(&self, sql: &Sql, values: Vec<Value>) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// Runs a statement and returns the number of rows that it changed.
    fn execute(&self, sql: &Sql, values: Vec<Value>) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Inserts a record as one row.
    fn insert<R: Insert>(&self, record: &R) -> impl Future<Output = Result<(), StoreError>> + Send {
        let (sql, values) = Sql::insert_row(R::TABLE, record.columns(), "");
        async move { self.execute(&sql, values).await.map(|_| ()) }
    }

    /// Runs a statement and returns its first row.
    fn one(&self, sql: &Sql, values: Vec<Value>) -> impl Future<Output = Result<Option<Row>, StoreError>> + Send {
        async move { Ok(self.all(sql, values).await?.into_iter().next()) }
    }
}

/// Runs statements on a connection and measures each.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) dialect: Dialect,
    pub(crate) metrics: Metrics,
    /// Longest run of a statement, after which the database counts as unavailable.
    pub(crate) limit: Duration,
    pub(crate) availability: Arc<Availability>,
    /// Keeps the locks of this schema apart from those of other schemas in the same database.
    pub(crate) namespace: u64,
}

impl Runner {
    pub(crate) async fn all(&self, on: &mut Connection, sql: &Sql, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.measure(sql.operation, sql.table, async { Ok(on.all(sql.text.clone(), values).await?) }).await
    }

    pub(crate) async fn execute(&self, on: &mut Connection, sql: &Sql, values: Vec<Value>) -> Result<u64, StoreError> {
        self.measure(sql.operation, sql.table, async { Ok(on.execute(sql.text.clone(), values).await?) }).await
    }

    /// Runs statements without parameters.
    pub(crate) async fn script(
        &self,
        on: &mut Connection,
        operation: &'static str,
        table: &'static str,
        text: &str,
    ) -> Result<(), StoreError> {
        self.measure(operation, table, async { Ok(on.script(text).await?) }).await
    }

    /// Awaits a statement within the limit and measures it.
    pub(crate) async fn measure<T>(
        &self,
        operation: &'static str,
        table: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let span = self.span(operation, table);
        let begun = Instant::now();
        let outcome = match tokio::time::timeout(self.limit, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::timed_out()),
        };
        self.availability.record(&outcome);
        self.metrics.database_query(operation, table, begun.elapsed());
        if let Err(error) = &outcome {
            self.metrics.database_error(operation, error.kind());
            if let Some(mut span) = span {
                span.fail(error.kind());
            }
        }
        outcome
    }

    /// Begins the statement's span, if the work that it is for is recorded. The span has no values, and no text that could
    /// contain some.
    fn span(&self, operation: &'static str, table: &'static str) -> Option<Span> {
        let mut span = traces::span(operation, SpanKind::Client)?;
        span.set("db.system.name", self.dialect.name());
        span.set("db.operation.name", operation);
        let mut summary = operation.to_owned();
        if table != NO_TABLE {
            span.set("db.collection.name", table);
            summary = format!("{operation} {table}");
        }
        span.rename(summary.clone());
        span.set("db.query.summary", summary);
        Some(span)
    }
}
