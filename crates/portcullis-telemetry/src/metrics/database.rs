//! Database statements.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::Metrics;
use super::catalogue::{Buckets, Catalogue};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatementLabels {
    operation: &'static str,
    table: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    operation: &'static str,
    error_type: &'static str,
}

pub(super) struct DatabaseFamilies {
    seconds: Family<StatementLabels, Histogram, Buckets>,
    errors: Family<ErrorLabels, Counter>,
    statements: AtomicU64,
}

impl DatabaseFamilies {
    pub(super) fn register(catalogue: &mut Catalogue, bounds: &[f64]) -> Self {
        let help = "Time that a database statement took, in seconds";
        Self {
            seconds: catalogue.histogram("database_query_duration_seconds", &["operation", "table"], help, bounds),
            errors: catalogue.counter(
                "database_errors",
                &["operation", "error_type"],
                "Database statements that failed, by operation and error type",
            ),
            statements: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// Records a statement: `operation` is its verb, `table` the first table that it names.
    pub fn database_query(&self, operation: &'static str, table: &'static str, took: Duration) {
        let database = &self.0.database;
        database.statements.fetch_add(1, Ordering::Relaxed);
        database.seconds.get_or_create(&StatementLabels { operation, table }).observe(took.as_secs_f64());
    }

    /// Begins the counters of failed statements at zero: one that begins with its first event hides that event from
    /// `increase` and `rate`.
    pub fn begin_database_errors(&self, operation: &'static str, error_type: &'static str) {
        let _begins_at_zero = self.0.database.errors.get_or_create(&ErrorLabels { operation, error_type });
    }

    /// Counts a statement that failed.
    pub fn database_error(&self, operation: &'static str, error_type: &'static str) {
        self.0.database.errors.get_or_create(&ErrorLabels { operation, error_type }).inc();
    }

    /// The number of statements recorded so far. Tests use it to find what a use case costs.
    pub fn database_statements(&self) -> u64 {
        self.0.database.statements.load(Ordering::Relaxed)
    }
}
