//! Reports errors, and a share of the requests, to Sentry, or to a server that speaks its protocol (`docs/errors.md`).
//!
//! Reporting never waits: a report takes a short lock, and one task delivers them. Of a group at most ten are sent in a
//! minute; the next one says how many there were besides.

mod backtrace;
mod budget;
mod delivery;
mod event;
mod https;
mod image;
mod queue;
#[cfg(test)]
mod tests;
mod transaction;

use std::backtrace::Backtrace;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use sentry_types::Dsn;
use tokio_util::sync::CancellationToken;

use super::Fault;
use crate::Metrics;
use crate::traces::{Sampler, TraceId};
use budget::{Budget, Permission};
use delivery::Delivery;
use https::Https;
use queue::ReportQueue;
pub use transaction::HandledRequest;
pub(super) use transaction::Transaction;

/// Where and as what errors are reported.
#[derive(Clone, Debug)]
pub struct SentryOptions {
    /// The project's address with its public key.
    pub dsn: Dsn,
    /// The environment that the errors are shown under.
    pub environment: String,
    /// The release that the errors are shown under.
    pub release: String,
    /// The share of requests that are reported as transactions, from 0 to 1.
    pub traces_sample_rate: f64,
}

/// Collects reports until they are delivered.
pub(super) struct Sentry {
    options: SentryOptions,
    https: Https,
    budget: Mutex<Budget>,
    queue: ReportQueue<Report>,
    transactions: ReportQueue<Transaction>,
    sampler: Sampler,
}

/// An error as it is sent.
struct Report {
    fault: Fault,
    group: String,
    /// Errors of the group that were not sent since the last report of it.
    unsent: u64,
    backtrace: Option<Arc<Backtrace>>,
}

impl Report {
    /// How many errors it tells of.
    fn errors(&self) -> u64 {
        self.unsent.saturating_add(1)
    }
}

impl Sentry {
    pub(super) fn new(options: SentryOptions) -> Self {
        Self {
            https: Https::new(&options.dsn),
            sampler: Sampler { parent_based: false, ratio: options.traces_sample_rate },
            options,
            budget: Mutex::default(),
            queue: ReportQueue::default(),
            transactions: ReportQueue::default(),
        }
    }

    /// Adds an error, unless its group has used up its reports. Returns how many errors found no room.
    pub(super) fn add(&self, fault: Fault, backtrace: Option<Arc<Backtrace>>) -> u64 {
        let group = fault.group();
        let permission = self.budget.lock().unwrap_or_else(PoisonError::into_inner).ask(&group, fault.at);
        match permission {
            Permission::Granted { unsent } => {
                self.queue.push(Report { fault, group, unsent, backtrace }).map_or(0, |refused| refused.errors())
            }
            Permission::CountedOnly => 0,
            Permission::NoRoom => 1,
        }
    }

    /// Whether a share of the requests is reported.
    pub(super) fn reports_requests(&self) -> bool {
        self.sampler.ratio > 0.0
    }

    /// Whether the request with this id is reported as a transaction.
    pub(super) fn samples(&self, request_id: &str) -> bool {
        TraceId::from_digits(request_id.as_bytes()).is_some_and(|id| self.sampler.samples(&id, None))
    }

    /// Adds a request. Returns whether there was room.
    pub(super) fn add_transaction(&self, transaction: Transaction) -> bool {
        self.transactions.push(transaction).is_none()
    }

    /// Delivers reports until `stopping` is cancelled, and then those that wait, within two seconds, unless the server wants
    /// to be left alone.
    pub(super) async fn deliver(&self, metrics: &Metrics, stopping: &CancellationToken) {
        let mut delivery = Delivery::new(self, metrics);
        loop {
            let delivering = tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                report = self.queue.next() => Next::Error(report),
                transaction = self.transactions.next() => Next::Transaction(transaction),
            };
            let pause = match delivering {
                Next::Error(report) => {
                    let errors = report.errors();
                    tokio::select! {
                        pause = delivery.deliver(report) => pause,
                        () = stopping.cancelled() => {
                            metrics.error_reports_dropped(errors);
                            break;
                        }
                    }
                }
                Next::Transaction(transaction) => tokio::select! {
                    pause = delivery.deliver_transaction(transaction) => pause,
                    () = stopping.cancelled() => break,
                },
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopping.cancelled() => return self.tell_of_the_rest(),
            }
        }
        let _ = tokio::time::timeout(LAST_WORDS, async {
            while let Some(report) = self.queue.take() {
                delivery.try_once(report).await;
            }
        })
        .await;
        self.tell_of_the_rest();
    }

    /// Tells of reports that nobody delivers any more.
    fn tell_of_the_rest(&self) {
        let reports = self.queue.len();
        if reports > 0 {
            tracing::warn!(reports, "the process stops before these error reports have reached Sentry");
        }
    }
}

/// What is delivered next. Errors come first.
enum Next {
    Error(Report),
    Transaction(Transaction),
}

/// How long the end of the process waits for the last reports.
const LAST_WORDS: Duration = Duration::from_secs(2);
