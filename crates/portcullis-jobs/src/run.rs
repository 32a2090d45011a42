//! One run of a job: batch after batch until there is no more to do.

use std::pin::pin;

use portcullis_telemetry::errors::{Panic, catch_panic_in};
use tokio_util::sync::CancellationToken;

use crate::job::{Batch, Job, JobError};
use crate::lease::Lease;

/// How a run ended.
#[derive(Debug)]
pub enum RunOutcome {
    /// Everything was done.
    Succeeded,
    /// A batch failed; the batches before it are kept.
    Failed(RunError),
    /// The process stops; the rest is left to another replica or to the next start.
    Stopped,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A batch returned an error.
    #[error("a batch failed")]
    Batch(#[source] JobError),
    /// A batch panicked. The panic's own message is in the log and in the error report.
    #[error("a batch panicked")]
    Panicked(Panic),
    /// A batch did not end within the job's limit.
    #[error("a batch took longer than {} s", .0.as_secs())]
    TimedOut(std::time::Duration),
    /// The lease could not be renewed in time, so another replica may run the job.
    #[error("the lease was lost")]
    LeaseLost,
}

impl RunOutcome {
    /// The labels that [`label`](Self::label) returns.
    pub(crate) const LABELS: [&'static str; 3] = ["success", "failure", "stopped"];

    /// The label `result` of `jobs_total`.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Succeeded => "success",
            Self::Failed(_) => "failure",
            Self::Stopped => "stopped",
        }
    }
}

/// Runs a job. A stop waits for the batch that is running, and no longer.
pub(crate) async fn run(job: &Job, mut lease: Option<&mut Lease<'_>>, stop: &CancellationToken) -> RunOutcome {
    loop {
        if stop.is_cancelled() {
            return RunOutcome::Stopped;
        }
        let batch = match &mut lease {
            None => batch(job).await,
            Some(lease) => {
                if !lease.is_held().await {
                    return RunOutcome::Failed(RunError::LeaseLost);
                }
                tokio::select! {
                    biased;
                    batch = batch(job) => batch,
                    () = lease.lost() => Err(RunError::LeaseLost),
                }
            }
        };
        match batch {
            Ok(Batch::More) => {}
            Ok(Batch::Last) => return RunOutcome::Succeeded,
            Err(error) => return RunOutcome::Failed(error),
        }
    }
}

async fn batch(job: &Job) -> Result<Batch, RunError> {
    // The function itself may panic too, before there is a future.
    let work = pin!(async { (job.work)().await });
    match tokio::time::timeout(job.batch_timeout, catch_panic_in(work)).await {
        Ok(Ok(Ok(batch))) => Ok(batch),
        Ok(Ok(Err(error))) => Err(RunError::Batch(error)),
        Ok(Err(panic)) => Err(RunError::Panicked(panic)),
        Err(_) => Err(RunError::TimedOut(job.batch_timeout)),
    }
}

/// An error with its sources, in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    words
}
