//! What a job is.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Why a batch failed.
pub type JobError = Box<dyn std::error::Error + Send + Sync>;

/// How long a lease lasts. It is renewed after a third of that, while a batch runs too; a replica that dies is replaced
/// when it has run out.
pub const LEASE: Duration = Duration::from_secs(60);
/// A batch that takes longer than this fails, unless its job has another limit. Longer than the limits of a statement.
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether a job has more to do after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Another batch follows at once.
    More,
    /// The run is complete.
    Last,
}

/// Which replicas run a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One replica at a time, the one that holds the lease: work on data that replicas share.
    OneReplica,
    /// Every replica: work on what this process alone holds.
    EveryReplica,
}

/// A named piece of work that is done again and again.
pub struct Job {
    pub(crate) name: &'static str,
    pub(crate) interval: Duration,
    pub(crate) scope: Scope,
    pub(crate) batch_timeout: Duration,
    pub(crate) lease: Duration,
    pub(crate) work: Box<dyn Fn() -> BoxFuture<'static, Result<Batch, JobError>> + Send + Sync>,
}

impl Job {
    /// A job that one replica runs every `interval`, give or take a tenth. `batch` does one batch, which commits by
    /// itself: a run may end after any batch.
    pub fn on_one_replica<W, F>(name: &'static str, interval: Duration, batch: W) -> Self
    where
        W: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Batch, JobError>> + Send + 'static,
    {
        Self::new(name, interval, Scope::OneReplica, batch)
    }

    /// A job that every replica runs for itself every `interval`, give or take a tenth.
    pub fn on_every_replica<W, F>(name: &'static str, interval: Duration, batch: W) -> Self
    where
        W: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Batch, JobError>> + Send + 'static,
    {
        Self::new(name, interval, Scope::EveryReplica, batch)
    }

    fn new<W, F>(name: &'static str, interval: Duration, scope: Scope, batch: W) -> Self
    where
        W: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Batch, JobError>> + Send + 'static,
    {
        let work = Box::new(move || batch().boxed());
        Self { name, interval, scope, batch_timeout: BATCH_TIMEOUT, lease: LEASE, work }
    }

    /// The same job with another limit of time on each batch.
    pub fn with_batch_timeout(self, batch_timeout: Duration) -> Self {
        Self { batch_timeout, ..self }
    }

    /// The same job with a lease of another length: the time after which a replica that died is replaced.
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Name of the job, as metrics, logs and `/api/health/detailed` show it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Time from the end of one run to the next.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Which replicas run it.
    pub fn scope(&self) -> Scope {
        self.scope
    }
}
