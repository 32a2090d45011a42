//! How the jobs are doing: read from the database, so that every replica says the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_model::Timestamp;
use portcullis_storage::JobRecord;
use portcullis_telemetry::{Metrics, ReadMetric};

use crate::job::{Job, Scope};

/// How a job is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// Name of the job.
    pub name: &'static str,
    /// When it last succeeded on any replica; `None` before the first success.
    pub last_success_at: Option<Timestamp>,
    /// Whether its last run succeeded, on this replica where every replica runs it; `None` before the first run.
    pub last_succeeded: Option<bool>,
    /// Why its last run failed; `None` when it succeeded.
    pub last_error: Option<String>,
}

/// What is known of each job.
pub(crate) struct Statuses {
    /// The jobs of this process. The database may also know jobs of other versions, and jobs that settings turned off.
    names: Vec<&'static str>,
    known: Mutex<Known>,
}

struct Known {
    records: HashMap<String, JobRecord>,
    /// Results of this replica, of jobs that every replica runs for itself.
    local: HashMap<&'static str, Result<(), String>>,
}

impl Statuses {
    /// Nothing is known yet. Adds the gauge of last successes.
    pub(crate) fn new(jobs: &[Job], metrics: &Metrics) -> Arc<Self> {
        let names = jobs.iter().map(|job| job.name).collect();
        let known = Mutex::new(Known { records: HashMap::new(), local: HashMap::new() });
        let statuses = Arc::new(Self { names, known });
        let watched = Arc::downgrade(&statuses);
        let read = move || watched.upgrade().map_or_else(Vec::new, |statuses| statuses.last_successes());
        metrics.read_values(ReadMetric::JobLastSuccess, read);
        statuses
    }

    /// Replaces what was read from the database.
    pub(crate) fn replace(&self, records: Vec<JobRecord>) {
        self.known().records = records.into_iter().map(|record| (record.name.clone(), record)).collect();
    }

    /// Notes a result of this replica.
    pub(crate) fn note(&self, job: &'static str, result: Result<(), String>) {
        self.known().local.insert(job, result);
    }

    /// The status of each of these jobs.
    pub(crate) fn of(&self, jobs: &[Job]) -> Vec<JobStatus> {
        let known = self.known();
        let status = |job: &Job| {
            let record = known.records.get(job.name);
            let local = known.local.get(job.name).filter(|_| job.scope == Scope::EveryReplica);
            let (last_succeeded, last_error) = match local {
                Some(result) => (Some(result.is_ok()), result.clone().err()),
                None => (
                    record.and_then(|record| record.last_succeeded),
                    record.and_then(|record| record.last_error.clone()),
                ),
            };
            let last_success_at = record.and_then(|record| record.last_success_at);
            JobStatus { name: job.name, last_success_at, last_succeeded, last_error }
        };
        jobs.iter().map(status).collect()
    }

    fn last_successes(&self) -> Vec<(String, f64)> {
        let known = self.known();
        let read = self.names.iter().filter_map(|name| {
            let at = known.records.get(*name)?.last_success_at?;
            let seconds = at.timestamp_millis() as f64 / 1_000.0;
            Some(((*name).to_owned(), seconds))
        });
        read.collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
