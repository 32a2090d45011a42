//! What operators watch besides requests: Redis, mails, reloads of the settings, panics and periodic jobs.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::Metrics;
use super::catalogue::Catalogue;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: &'static str,
    result: &'static str,
}

pub(super) struct OperationFamilies {
    redis_errors: Family<OperationLabels, Counter>,
    mails: Family<ResultLabels, Counter>,
    reloads: Family<ResultLabels, Counter>,
    secret_store_reads: Family<ResultLabels, Counter>,
    panics: Counter,
    error_reports_dropped: Counter,
    transactions_dropped: Counter,
    jobs: Family<JobLabels, Counter>,
}

impl OperationFamilies {
    pub(super) fn register(catalogue: &mut Catalogue) -> Self {
        let families = Self {
            redis_errors: catalogue.counter("redis_errors", &["operation"], "Redis commands that failed, by operation"),
            mails: catalogue.counter("mails", &["result"], "Mails that were sent, delayed or given up, by result"),
            reloads: catalogue.counter("settings_reloads", &["result"], "Reloads of the settings, by result"),
            secret_store_reads: catalogue.counter(
                "secret_store_reads",
                &["result"],
                "Readings of the secret store by the running gateway, by result",
            ),
            jobs: catalogue.counter("jobs", &["job", "result"], "Runs of periodic jobs, by job and result"),
            panics: catalogue.counter_without_labels("panics", "Panics of requests, streams, jobs and tasks"),
            error_reports_dropped: catalogue.counter_without_labels(
                "error_reports_dropped",
                "Errors of the gateway that found no room to be reported",
            ),
            transactions_dropped: catalogue.counter_without_labels(
                "sentry_transactions_dropped",
                "Requests that were to be reported to Sentry and did not reach it",
            ),
        };
        // A counter that begins with its first event would hide that event from `increase`.
        for result in ["sent", "delayed", "given_up"] {
            let _begins_at_zero = families.mails.get_or_create(&ResultLabels { result });
        }
        for result in ["applied", "refused"] {
            let _begins_at_zero = families.reloads.get_or_create(&ResultLabels { result });
        }
        for result in ["success", "failure"] {
            let _begins_at_zero = families.secret_store_reads.get_or_create(&ResultLabels { result });
        }
        families
    }
}

impl Metrics {
    /// Begins the counter of an operation's failed commands at zero: one that begins with its first event hides that event
    /// from `increase` and `rate`.
    pub fn begin_redis_errors(&self, operation: &'static str) {
        let _begins_at_zero = self.0.operations.redis_errors.get_or_create(&OperationLabels { operation });
    }

    /// Begins a counter of a job's runs at zero, for the same reason.
    pub fn begin_job(&self, job: &'static str, result: &'static str) {
        let _begins_at_zero = self.0.operations.jobs.get_or_create(&JobLabels { job, result });
    }

    /// Counts a Redis command that failed.
    pub fn redis_error(&self, operation: &'static str) {
        self.0.operations.redis_errors.get_or_create(&OperationLabels { operation }).inc();
    }

    /// Counts an attempt to send a mail. `result` is `sent`, `delayed` or `given_up`.
    pub fn mail(&self, result: &'static str) {
        self.0.operations.mails.get_or_create(&ResultLabels { result }).inc();
    }

    /// Counts a reload of the settings. `result` is `applied` or `refused`.
    pub fn reload(&self, result: &'static str) {
        self.0.operations.reloads.get_or_create(&ResultLabels { result }).inc();
    }

    /// Counts a reading of the secret store. `result` is `success` or `failure`.
    pub fn secret_store_read(&self, result: &'static str) {
        self.0.operations.secret_store_reads.get_or_create(&ResultLabels { result }).inc();
    }

    /// Counts a run of a job. `result` is `success`, `failure` or `stopped`.
    pub fn job(&self, job: &'static str, result: &'static str) {
        self.0.operations.jobs.get_or_create(&JobLabels { job, result }).inc();
    }

    /// Counts a panic.
    pub(crate) fn panic(&self) {
        self.0.operations.panics.inc();
    }

    /// Counts errors that found no room to be reported.
    pub(crate) fn error_reports_dropped(&self, errors: u64) {
        self.0.operations.error_reports_dropped.inc_by(errors);
    }

    /// Counts a request that did not reach Sentry.
    pub(crate) fn transaction_dropped(&self) {
        self.0.operations.transactions_dropped.inc();
    }
}
