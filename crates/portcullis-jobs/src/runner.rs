//! Runs every job when it is due, each in a task of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_model::Random;
use portcullis_storage::{Store, StoreError};
use portcullis_telemetry::traces::{SpanKind, root_span};
use portcullis_telemetry::{Errors, Metrics};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::database_counts::DatabaseCounts;
use crate::job::{Job, Scope};
use crate::lease::Lease;
use crate::run::{RunError, RunOutcome, error_chain, run};
use crate::schedule;
use crate::status::{JobStatus, Statuses};

/// How often the state of the jobs is read from the database.
const REFRESH: Duration = Duration::from_secs(15);

/// The jobs of this process.
pub struct Jobs {
    jobs: Vec<Job>,
    store: Store,
    random: Random,
    metrics: Metrics,
    errors: Errors,
    statuses: Arc<Statuses>,
    counts: Arc<DatabaseCounts>,
    /// Set while the database cannot be reached, so that the log says so once.
    unreachable: AtomicBool,
}

impl Jobs {
    /// Jobs whose leases and results are kept in this store, and whose failures are recorded as errors. None runs before
    /// [`run`](Self::run).
    pub fn new(store: &Store, random: Random, errors: Errors, jobs: Vec<Job>) -> Arc<Self> {
        let metrics = store.metrics().clone();
        for job in &jobs {
            for result in RunOutcome::LABELS {
                metrics.begin_job(job.name, result);
            }
        }
        let statuses = Statuses::new(&jobs, &metrics);
        let counts = DatabaseCounts::new(&metrics);
        let unreachable = AtomicBool::new(false);
        Arc::new(Self { jobs, store: store.clone(), random, metrics, errors, statuses, counts, unreachable })
    }

    /// Runs the jobs until cancelled. Then waits for the batches that are running, and for no others. A panic outside a
    /// job's work is recorded as one of the job, which goes on.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for number in 0..self.jobs.len() {
            let (jobs, stop) = (Arc::clone(&self), stop.clone());
            tasks.spawn(async move {
                let job = &jobs.jobs[number];
                jobs.errors.restart_after_panics(job.name, &stop, || jobs.repeat(job, &stop)).await;
            });
        }
        let (jobs, stopping) = (Arc::clone(&self), stop.clone());
        tasks.spawn(async move {
            let count = || jobs.counts.follow(&jobs.store, &stopping);
            jobs.errors.restart_after_panics("database_counts", &stopping, count).await;
        });
        let jobs = Arc::clone(&self);
        tasks.spawn(async move {
            jobs.errors.restart_after_panics("job_states", &stop, || jobs.refresh_periodically(&stop)).await;
        });
        while tasks.join_next().await.is_some() {}
    }

    /// Runs a job now if it is due and no other replica runs it. `None` when it did not run.
    pub async fn run_if_due(&self, name: &str, stop: &CancellationToken) -> Result<Option<RunOutcome>, StoreError> {
        match self.jobs.iter().find(|job| job.name == name) {
            Some(job) => self.attempt(job, stop).await,
            None => Ok(None),
        }
    }

    /// Reads from the database how the jobs are doing.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.statuses.replace(self.store.job_records().await?);
        Ok(())
    }

    /// Counts in the database what metrics show of it.
    pub async fn refresh_counts(&self) -> Result<(), StoreError> {
        self.counts.refresh(&self.store).await
    }

    /// How each job is doing, as last read: at most 15 seconds ago while the database can be reached.
    pub fn statuses(&self) -> Vec<JobStatus> {
        self.statuses.of(&self.jobs)
    }

    async fn repeat(&self, job: &Job, stop: &CancellationToken) {
        let mut pause = schedule::first_check(job.interval, &self.random);
        let mut failures = 0_u32;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            match self.attempt(job, stop).await {
                Ok(_) => {
                    failures = 0;
                    if self.unreachable.swap(false, Ordering::Relaxed) {
                        tracing::info!("jobs run again: the database can be reached");
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if !self.unreachable.swap(true, Ordering::Relaxed) {
                        tracing::warn!(error = %error_chain(&error), "jobs do not run: the database cannot be reached");
                    }
                }
            }
            pause = match failures {
                0 => schedule::next_check(job.interval, &self.random),
                failures => schedule::repeated_check(failures, job.interval, &self.random),
            };
        }
    }

    async fn refresh_periodically(&self, stop: &CancellationToken) {
        loop {
            if let Err(error) = self.refresh().await {
                tracing::debug!(error = %error_chain(&error), "the state of the jobs cannot be read");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REFRESH) => {}
            }
        }
    }

    async fn attempt(&self, job: &Job, stop: &CancellationToken) -> Result<Option<RunOutcome>, StoreError> {
        match job.scope {
            Scope::EveryReplica => Ok(Some(self.run_here(job, stop).await)),
            Scope::OneReplica => {
                let Some(lease) = Lease::claim(&self.store, job).await? else { return Ok(None) };
                Ok(Some(self.run_leased(job, lease, stop).await))
            }
        }
    }

    async fn run_leased(&self, job: &Job, mut lease: Lease<'_>, stop: &CancellationToken) -> RunOutcome {
        let outcome = in_span(job, run(job, Some(&mut lease), stop)).await;
        self.report(job, &outcome);
        let recorded = match &outcome {
            RunOutcome::Succeeded => lease.finish(None, schedule::next_run(job.interval, &self.random)).await,
            RunOutcome::Failed(error) => {
                lease.finish(Some(&error_chain(error)), schedule::retry(job.interval, &self.random)).await
            }
            RunOutcome::Stopped => lease.release().await,
        };
        self.recorded(job, recorded).await;
        outcome
    }

    async fn run_here(&self, job: &Job, stop: &CancellationToken) -> RunOutcome {
        let outcome = in_span(job, run(job, None, stop)).await;
        self.report(job, &outcome);
        let error = match &outcome {
            RunOutcome::Succeeded => None,
            RunOutcome::Failed(error) => Some(error_chain(error)),
            RunOutcome::Stopped => return outcome,
        };
        self.statuses.note(job.name, error.clone().map_or(Ok(()), Err));
        let recorded = self.store.record_job(job.name, error.as_deref()).await;
        self.recorded(job, recorded).await;
        outcome
    }

    fn report(&self, job: &Job, outcome: &RunOutcome) {
        self.metrics.job(job.name, outcome.label());
        if let RunOutcome::Failed(error) = outcome {
            let reason = error_chain(error);
            tracing::error!(job = job.name, error = %reason, "a job failed; it is tried again");
            match error {
                RunError::Panicked(panic) => self.errors.panicked(panic, Some(job.name)),
                RunError::Batch(_) | RunError::TimedOut(_) | RunError::LeaseLost => {
                    self.errors.failed_job(&reason, job.name);
                }
            }
        }
    }

    /// A result that cannot be recorded leaves the lease to run out, after which another replica runs the job.
    async fn recorded(&self, job: &Job, outcome: Result<(), StoreError>) {
        let refreshed = match outcome {
            Ok(()) => self.refresh().await,
            failed => failed,
        };
        if let Err(error) = refreshed {
            tracing::debug!(job = job.name, error = %error_chain(&error), "the result of a job was not recorded");
        }
    }
}

/// Records the run of a job as a trace of its own.
async fn in_span(job: &Job, work: impl Future<Output = RunOutcome>) -> RunOutcome {
    let Some(mut span) = root_span(format!("job {}", job.name), SpanKind::Internal) else { return work.await };
    let outcome = span.scope().wrap(work).await;
    if let RunOutcome::Failed(_) = &outcome {
        span.fail("job_failed");
    }
    outcome
}
