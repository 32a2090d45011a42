//! The gateway's own errors: panics, 5xx of its own making, failed jobs (`docs/errors.md`).
//!
//! Recording one takes a short lock and never waits. Errors that have the same cause form a group, and what is recorded
//! of a group is its last error and their number. The groups that nobody has fetched yet are bounded; what finds no room
//! is counted in `error_reports_dropped_total`.

mod grouping;
mod panics;
mod pending;
mod scrubbing;

use std::sync::Arc;
use std::time::Duration;

use crate::{Metrics, RequestScope};
pub use panics::{Panic, catch_panic, catch_panic_in};
pub use pending::Occurrences;
use pending::PendingErrors;
pub use scrubbing::scrubbed;

/// What failed.
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
    metrics: Metrics,
    now: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// An error without secrets.
struct Fault {
    kind: FaultKind,
    message: String,
    /// The template of the route or the name of the job.
    route: Option<String>,
    /// Where a panic happened.
    location: Option<String>,
    request_id: Option<String>,
    at: Duration,
}

impl Errors {
    /// Nothing is recorded yet. `now` tells the time since 1970.
    pub fn new(metrics: Metrics, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { pending: PendingErrors::default(), metrics, now: Box::new(now) }))
    }

    /// Records a request that failed because of the gateway itself or of what it depends on.
    pub fn failed_request(&self, message: &str, route: &str) {
        self.record(FaultKind::Request, message, Some(route), None);
    }

    /// Records a run of a job that failed.
    pub fn failed_job(&self, message: &str, job: &str) {
        self.record(FaultKind::Job, message, Some(job), None);
    }

    /// Counts and records a panic that was caught. `route` is the template of the route or the name of the job, if it is
    /// known.
    pub fn panicked(&self, panic: &Panic, route: Option<&str>) {
        self.0.metrics.panic();
        self.record(FaultKind::Panic, panic.message(), route, panic.location());
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

    fn record(&self, kind: FaultKind, message: &str, route: Option<&str>, location: Option<&str>) {
        let fault = Fault {
            kind,
            message: scrubbed(message),
            route: route.map(str::to_owned),
            location: location.map(str::to_owned),
            request_id: RequestScope::current().request_id().map(str::to_owned),
            at: (self.0.now)(),
        };
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
