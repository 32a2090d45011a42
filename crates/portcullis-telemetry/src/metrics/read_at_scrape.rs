//! Values that their owners hold and that are read at each scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Metrics;
use super::family::MetricFamily;
use super::text_format::Page;

/// A value that is read at each scrape, see [`Metrics::read_value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the help text of each says what it means")]
pub enum ReadMetric {
    ConnectionsOpen,
    ConnectionsRefused,
    DatabaseClockDifference,
    DatabasePoolConnections,
    DatabasePoolIdleConnections,
    DatabasePoolWaiting,
    DatabaseReadingAge,
    DatabaseUp,
    JobLastSuccess,
    LiveStreams,
    LogLinesDropped,
    MailsWaiting,
    PasswordHashQueueLength,
    RedisUp,
    RevocationFeedAge,
    SecretStoreUp,
    SessionsLive,
    TraceSpansDropped,
    TraceSpansExported,
}

impl ReadMetric {
    /// All of them, in the order of the page.
    pub(super) const ALL: [Self; 19] = [
        Self::ConnectionsOpen,
        Self::ConnectionsRefused,
        Self::DatabaseClockDifference,
        Self::DatabasePoolConnections,
        Self::DatabasePoolIdleConnections,
        Self::DatabasePoolWaiting,
        Self::DatabaseReadingAge,
        Self::DatabaseUp,
        Self::JobLastSuccess,
        Self::LiveStreams,
        Self::LogLinesDropped,
        Self::MailsWaiting,
        Self::PasswordHashQueueLength,
        Self::RedisUp,
        Self::RevocationFeedAge,
        Self::SecretStoreUp,
        Self::SessionsLive,
        Self::TraceSpansDropped,
        Self::TraceSpansExported,
    ];

    /// The family of which it is the value.
    pub(super) const fn family(self) -> MetricFamily {
        match self {
            Self::ConnectionsOpen => MetricFamily::gauge("connections_open", "Client connections that are open"),
            Self::ConnectionsRefused => MetricFamily::counter(
                "connections_refused",
                "Connections that were closed at once because their address had too many",
            ),
            Self::DatabaseClockDifference => MetricFamily::gauge(
                "database_clock_difference_seconds",
                "How far this machine's clock is ahead of the database's, or behind if negative; 0 with SQLite",
            ),
            Self::DatabasePoolConnections => {
                MetricFamily::gauge("database_pool_connections", "Open database connections")
            }
            Self::DatabasePoolIdleConnections => {
                MetricFamily::gauge("database_pool_idle_connections", "Open database connections that are idle")
            }
            Self::DatabasePoolWaiting => {
                MetricFamily::gauge("database_pool_waiting", "Statements that wait for a database connection")
            }
            Self::DatabaseReadingAge => MetricFamily::gauge(
                "database_reading_age_seconds",
                "Age of what was counted in the database: sessions_live and mails_waiting",
            ),
            Self::DatabaseUp => MetricFamily::gauge("database_up", "Whether the last statement reached the database"),
            Self::JobLastSuccess => MetricFamily::gauge(
                "job_last_success_timestamp_seconds",
                "When a job last succeeded on any replica, in Unix seconds",
            )
            .with_labels(&["job"]),
            Self::LiveStreams => {
                MetricFamily::gauge("live_streams", "WebSockets, event streams and long uploads that are open")
            }
            Self::LogLinesDropped => MetricFamily::counter(
                "log_lines_dropped",
                "Log lines that could not be written because the log's reader is gone or too slow",
            ),
            Self::MailsWaiting => {
                MetricFamily::gauge("mails_waiting", "Mails that wait to be sent, counted for all replicas")
            }
            Self::PasswordHashQueueLength => {
                MetricFamily::gauge("password_hash_queue_length", "Passwords that wait to be hashed")
            }
            Self::RedisUp => MetricFamily::gauge("redis_up", "Whether Redis answers: 1 or 0; no sample without Redis"),
            Self::RevocationFeedAge => {
                MetricFamily::gauge("revocation_feed_age_seconds", "Time since the revocation log was last read")
            }
            Self::SecretStoreUp => MetricFamily::gauge(
                "secret_store_up",
                "Whether the secret store could be read the last time: 1 or 0; no sample without one",
            ),
            Self::SessionsLive => MetricFamily::gauge(
                "sessions_live",
                "Sessions that have neither ended nor expired, counted for all replicas",
            ),
            Self::TraceSpansDropped => MetricFamily::counter(
                "trace_spans_dropped",
                "Spans that were dropped because the collector of traces is gone, too slow or did not take them",
            ),
            Self::TraceSpansExported => {
                MetricFamily::counter("trace_spans_exported", "Spans that the collector of traces has taken")
            }
        }
    }
}

/// Returns a value for each value of the family's label; one without name where it has no label.
type Reader = Arc<dyn Fn() -> Vec<(String, f64)> + Send + Sync>;

/// Who is asked for each value.
#[derive(Default)]
pub(super) struct Readers(Mutex<BTreeMap<ReadMetric, Reader>>);

impl Readers {
    pub(super) fn append(&self, page: &mut Page) {
        // A reader may lock what its owner holds while it registers another reader.
        let readers = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for metric in ReadMetric::ALL {
            let samples = readers.get(&metric).map(|read| read()).unwrap_or_default();
            page.family(&metric.family(), &samples);
        }
    }

    fn set(&self, metric: ReadMetric, read: Reader) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(metric, read);
    }
}

impl Metrics {
    /// Sets who is asked for a value at each scrape. `None` leaves the sample out.
    pub fn read_value(&self, metric: ReadMetric, read: impl Fn() -> Option<f64> + Send + Sync + 'static) {
        self.0.readers.set(metric, Arc::new(move || read().map(|value| (String::new(), value)).into_iter().collect()));
    }

    /// Sets who is asked for the values of a family with a label: each with the label's value.
    pub fn read_values(&self, metric: ReadMetric, read: impl Fn() -> Vec<(String, f64)> + Send + Sync + 'static) {
        self.0.readers.set(metric, Arc::new(read));
    }
}
