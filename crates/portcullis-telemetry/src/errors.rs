//! The gateway's own errors: panics, 5xx of its own making, failed jobs (`docs/errors.md`).
//!
//! Recording one takes a short lock and never waits. Errors that have the same cause form a group, and what is recorded
//! of a group is its last error and their number. The groups that nobody has fetched yet are bounded; what finds no room
//! is counted in `error_reports_dropped_total`.

mod grouping;
mod panics;
mod pending;
mod restarting;
mod scrubbing;
mod sentry;

use std::backtrace::Backtrace;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{Metrics, RequestScope};
pub use panics::{Panic, catch_panic, catch_panic_in};
pub use pending::Occurrences;
use pending::PendingErrors;
pub use scrubbing::scrubbed;
pub use sentry::{Dsn, HandledRequest, SentryOptions};
use sentry::{Sentry, Transaction};

/// The part of the gateway that failed. Errors of different kinds are never one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A panic, wherever it happened.
    Panic,
    /// A request that was answered with a 5xx of our own making.
    Request,
    /// A run of a job.
    Job,
}

impl FaultKind {
    /// The name that the API shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Request => "request",
            Self::Job => "job",
        }
    }
}

/// Records errors. Cheap to clone.
#[derive(Clone)]
pub struct Errors(Arc<Shared>);

struct Shared {
    pending: PendingErrors,
    /// Where errors are reported besides the database.
    sentry: Option<Sentry>,
    metrics: Metrics,
    now: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// An error without secrets.
#[derive(Clone)]
struct Fault {
    kind: FaultKind,
    message: String,
    /// The template of the route or the name of the job.
    route: Option<String>,
    /// Where a panic happened.
    location: Option<String>,
    request_id: Option<String>,
    trace_id: Option<String>,
    at: Duration,
}

impl Errors {
    /// Nothing is recorded yet. `now` tells the time since 1970.
    pub fn new(metrics: Metrics, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { pending: PendingErrors::default(), sentry: None, metrics, now: Box::new(now) }))
    }

    /// The same, and each error is reported to Sentry too.
    pub fn with_sentry(
        metrics: Metrics,
        now: impl Fn() -> Duration + Send + Sync + 'static,
        options: SentryOptions,
    ) -> Self {
        let sentry = Some(Sentry::new(options));
        Self(Arc::new(Shared { pending: PendingErrors::default(), sentry, metrics, now: Box::new(now) }))
    }

    /// Whether errors are reported to Sentry.
    pub fn has_sentry(&self) -> bool {
        self.0.sentry.is_some()
    }

    /// Delivers reports to Sentry until `stopping` is cancelled, and then those that wait, within two seconds. Returns at
    /// once without Sentry.
    pub async fn deliver_to_sentry(&self, stopping: CancellationToken) {
        if let Some(sentry) = &self.0.sentry {
            sentry.deliver(&self.0.metrics, &stopping).await;
        }
    }

    /// Whether a share of the requests is reported to Sentry.
    pub fn reports_requests(&self) -> bool {
        self.0.sentry.as_ref().is_some_and(Sentry::reports_requests)
    }

    /// Whether the request with this id is of the share that is reported to Sentry.
    pub fn samples_request(&self, request_id: &str) -> bool {
        self.0.sentry.as_ref().is_some_and(|sentry| sentry.samples(request_id))
    }

    /// Reports a request to Sentry as a transaction. One that finds no room is dropped and counted.
    pub fn handled_request(&self, request: &HandledRequest<'_>) {
        if let Some(sentry) = &self.0.sentry
            && !sentry.add_transaction(Transaction::new(request, (self.0.now)()))
        {
            self.0.metrics.transaction_dropped();
        }
    }

    /// Records a request that failed because of the gateway itself or of what it depends on.
    pub fn failed_request(&self, message: &str, route: &str) {
        self.record(FaultKind::Request, message, Some(route), None, None);
    }

    /// Records a run of a job that failed.
    pub fn failed_job(&self, message: &str, job: &str) {
        self.record(FaultKind::Job, message, Some(job), None, None);
    }

    /// Counts and records a panic that was caught. `route` is the template of the route or the name of the job, if it is
    /// known.
    pub fn panicked(&self, panic: &Panic, route: Option<&str>) {
        self.0.metrics.panic();
        self.record(FaultKind::Panic, panic.message(), route, panic.location(), panic.backtrace());
    }

    /// Also counts and records the panics that nothing of ours catches, from now on. Call it once in a process, after
    /// [`logs::start`](crate::logs::start): it adds to the hook that logs panics.
    pub fn report_panics(&self) {
        panics::install_hook(self.clone());
    }

    /// Waits until there are errors that nobody has fetched, and returns them, a group each.
    pub async fn next(&self) -> Vec<Occurrences> {
        self.0.pending.next().await
    }

    /// Returns the errors that nobody has fetched, without waiting.
    pub fn fetch(&self) -> Vec<Occurrences> {
        self.0.pending.take()
    }

    /// Takes back what could not be delivered, so that it is delivered with the next errors.
    pub fn give_back(&self, errors: Vec<Occurrences>) {
        self.drop(self.0.pending.give_back(errors));
    }

    fn record(
        &self,
        kind: FaultKind,
        message: &str,
        route: Option<&str>,
        location: Option<&str>,
        backtrace: Option<&Arc<Backtrace>>,
    ) {
        let scope = RequestScope::current();
        let fault = Fault {
            kind,
            message: scrubbed(message),
            route: route.map(str::to_owned),
            location: location.map(str::to_owned),
            request_id: scope.request_id().map(str::to_owned),
            trace_id: scope.trace_id().map(str::to_owned),
            at: (self.0.now)(),
        };
        if let Some(sentry) = &self.0.sentry {
            self.drop(sentry.add(fault.clone(), backtrace.map(Arc::clone)));
        }
        self.drop(self.0.pending.add(fault));
    }

    /// Counts errors that found no room.
    fn drop(&self, errors: u64) {
        if errors > 0 {
            self.0.metrics.error_reports_dropped(errors);
        }
    }
}

impl std::fmt::Debug for Errors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Errors")
    }
}

#[cfg(test)]
mod tests;
