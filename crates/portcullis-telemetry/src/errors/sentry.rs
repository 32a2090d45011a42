//! Reports errors to Sentry, or to a server that speaks its protocol (`docs/errors.md`).
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

use std::backtrace::Backtrace;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use sentry_types::Dsn;
use tokio_util::sync::CancellationToken;

use super::Fault;
use crate::Metrics;
use budget::{Budget, Permission};
use delivery::Delivery;
use https::Https;
use queue::ReportQueue;

/// Where and as what errors are reported.
#[derive(Clone, Debug)]
pub struct SentryOptions {
    /// The project's address with its public key.
    pub dsn: Dsn,
    /// The environment that the errors are shown under.
    pub environment: String,
    /// The release that the errors are shown under.
    pub release: String,
}

/// Collects reports until they are delivered.
pub(super) struct Sentry {
    options: SentryOptions,
    https: Https,
    budget: Mutex<Budget>,
    queue: ReportQueue,
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
        Self { https: Https::new(&options.dsn), options, budget: Mutex::default(), queue: ReportQueue::default() }
    }

    /// Adds an error, unless its group has used up its reports. Returns how many errors found no room.
    pub(super) fn add(&self, fault: Fault, backtrace: Option<Arc<Backtrace>>) -> u64 {
        let group = fault.group();
        let permission = self.budget.lock().unwrap_or_else(PoisonError::into_inner).ask(&group, fault.at);
        match permission {
            Permission::Granted { unsent } => self.queue.push(Report { fault, group, unsent, backtrace }),
            Permission::CountedOnly => 0,
            Permission::NoRoom => 1,
        }
    }

    /// Delivers reports until `stopping` is cancelled, and then those that wait, within two seconds, unless the server wants
    /// to be left alone.
    pub(super) async fn deliver(&self, metrics: &Metrics, stopping: &CancellationToken) {
        let mut delivery = Delivery::new(self, metrics);
        loop {
            let report = tokio::select! {
                report = self.queue.next() => report,
                () = stopping.cancelled() => break,
            };
            let errors = report.errors();
            let pause = tokio::select! {
                pause = delivery.deliver(report) => pause,
                () = stopping.cancelled() => {
                    metrics.error_reports_dropped(errors);
                    break;
                }
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

/// How long the end of the process waits for the last reports.
const LAST_WORDS: Duration = Duration::from_secs(2);
