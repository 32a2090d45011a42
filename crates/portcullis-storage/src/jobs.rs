//! Periodic jobs as replicas share them: which replica runs a job, when it is due, and how its last run ended.
//!
//! A lease is taken and renewed by the database's time, so that replicas whose clocks differ agree on who holds it.

use std::time::Duration;

use portcullis_model::Timestamp;

use crate::engine::columns::{FromRow, columns, sql};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::stored_text;
use crate::engine::value::Value;
use crate::store::Store;

/// A job's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Name of the job.
    pub name: String,
    /// When its last run finished, whatever came of it.
    pub last_finished_at: Option<Timestamp>,
    /// When its last successful run finished.
    pub last_success_at: Option<Timestamp>,
    /// Whether its last run succeeded; `None` before the first run has finished.
    pub last_succeeded: Option<bool>,
    /// Why its last run failed; `None` when it succeeded.
    pub last_error: Option<String>,
}

static CLAIM: Sql = Sql::insert("jobs", "");
static RENEW: Sql = Sql::update("jobs", "");
static FINISH: Sql = Sql::update("jobs", "");
static RELEASE: Sql = Sql::update("jobs", "");
static RECORD: Sql = Sql::insert("jobs", "");
columns! {
    JobRow reads jobs { name, last_finished_at, last_success_at, last_result, last_error }
}

/// A row of `jobs` as it is stored.
struct JobRow {
    name: String,
    last_finished_at: Option<Timestamp>,
    last_success_at: Option<Timestamp>,
    last_result: Option<String>,
    last_error: Option<String>,
}

static ALL: Sql = Sql::select("jobs", sql!("SELECT ", JobRow::COLUMNS, " FROM jobs ORDER BY name"));

impl Store {
    /// Takes a job's lease for this replica if the job is due, or if the lease of the replica that ran it has run out.
    /// Returns whether it was taken. A job that is not known yet is due.
    pub async fn claim_job(&self, name: &str, lease: Duration) -> Result<bool, StoreError> {
        let [now, lease_until] = ["$3", "$4"].map(|parameter| self.dialect().now(parameter));
        let text = format!(
            "INSERT INTO jobs (name, holder, last_started_at, lease_until) VALUES ($1, $2, {now}, {lease_until}) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, last_started_at = excluded.last_started_at, \
             lease_until = excluded.lease_until \
             WHERE (jobs.lease_until IS NULL AND jobs.next_run_at <= {now}) OR jobs.lease_until <= {now} \
             RETURNING name"
        );
        let values = vec![name.into(), self.replica().into(), self.now_value(), self.now_plus(lease)];
        Ok(self.one(&CLAIM.with_text(text), values).await?.is_some())
    }

    /// Extends the lease that this replica holds; `false` when it has run out or another replica holds it.
    pub async fn renew_job(&self, name: &str, lease: Duration) -> Result<bool, StoreError> {
        let [now, lease_until] = ["$3", "$4"].map(|parameter| self.dialect().now(parameter));
        let text = format!(
            "UPDATE jobs SET lease_until = {lease_until} WHERE name = $1 AND holder = $2 AND lease_until > {now}"
        );
        let values = vec![name.into(), self.replica().into(), self.now_value(), self.now_plus(lease)];
        Ok(self.execute(&RENEW.with_text(text), values).await? == 1)
    }

    /// Records how a run of this replica ended and gives the lease back. `error` is `None` after a success. Changes
    /// nothing when another replica has taken the lease meanwhile.
    pub async fn finish_job(&self, name: &str, error: Option<&str>, next_run: Duration) -> Result<(), StoreError> {
        let [now, next] = ["$3", "$4"].map(|parameter| self.dialect().now(parameter));
        let success = if error.is_none() { format!(", last_success_at = {now}") } else { String::new() };
        let text = format!(
            "UPDATE jobs SET holder = NULL, lease_until = NULL, next_run_at = {next}, last_finished_at = {now}, \
             last_result = $5, last_error = $6{success} WHERE name = $1 AND holder = $2"
        );
        let values = vec![
            name.into(),
            self.replica().into(),
            self.now_value(),
            self.now_plus(next_run),
            result(error).into(),
            error.map(stored_text::error_message).into(),
        ];
        self.execute(&FINISH.with_text(text), values).await.map(|_| ())
    }

    /// Gives the lease back before the work is done, so that another replica goes on at once.
    pub async fn release_job(&self, name: &str) -> Result<(), StoreError> {
        let text = format!(
            "UPDATE jobs SET holder = NULL, lease_until = NULL, next_run_at = {} WHERE name = $1 AND holder = $2",
            self.dialect().now("$3")
        );
        let values = vec![name.into(), self.replica().into(), self.now_value()];
        self.execute(&RELEASE.with_text(text), values).await.map(|_| ())
    }

    /// Records how a run ended that needed no lease, because every replica runs the job for itself.
    pub async fn record_job(&self, name: &str, error: Option<&str>) -> Result<(), StoreError> {
        let now = self.dialect().now("$2");
        let (column, value, update) = match error {
            None => (", last_success_at", format!(", {now}"), ", last_success_at = excluded.last_success_at"),
            Some(_) => ("", String::new(), ""),
        };
        let text = format!(
            "INSERT INTO jobs (name, last_finished_at, last_result, last_error{column}) VALUES ($1, {now}, $3, $4{value}) \
             ON CONFLICT (name) DO UPDATE SET last_finished_at = excluded.last_finished_at, \
             last_result = excluded.last_result, last_error = excluded.last_error{update}"
        );
        let values =
            vec![name.into(), self.now_value(), result(error).into(), error.map(stored_text::error_message).into()];
        self.execute(&RECORD.with_text(text), values).await.map(|_| ())
    }

    /// Returns every job that has ever run on this database, by name.
    pub async fn job_records(&self) -> Result<Vec<JobRecord>, StoreError> {
        let rows = self.all(&ALL, vec![]).await?;
        rows.iter().map(|row| JobRow::from_row(row).map(JobRecord::from)).collect()
    }

    /// Returns the value with which `dialect().now(…)` is this much later than now.
    fn now_plus(&self, by: Duration) -> Value {
        self.dialect().now_plus(self.clock(), by)
    }
}

impl From<JobRow> for JobRecord {
    fn from(row: JobRow) -> Self {
        let JobRow { name, last_finished_at, last_success_at, last_result, last_error } = row;
        let last_succeeded = last_result.map(|result| result == SUCCESS);
        Self { name, last_finished_at, last_success_at, last_succeeded, last_error }
    }
}

const SUCCESS: &str = "success";

fn result(error: Option<&str>) -> &'static str {
    if error.is_none() { SUCCESS } else { "failure" }
}
