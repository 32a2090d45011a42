//! The lease of a run: this replica's right to do a job that one replica does at a time.

use std::time::Duration;

use portcullis_storage::{Store, StoreError};
use tokio::time::Instant;

use crate::job::Job;

/// A renewal that failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// A lease that this replica holds.
pub(crate) struct Lease<'a> {
    store: &'a Store,
    job: &'static str,
    length: Duration,
    /// By this process's own clock, counted from before the statement that took or renewed the lease: never later than
    /// the end by the database's clock.
    expires: Instant,
    renew_at: Instant,
}

impl<'a> Lease<'a> {
    /// Takes the lease if the job is due and no other replica holds it.
    pub(crate) async fn claim(store: &'a Store, job: &Job) -> Result<Option<Self>, StoreError> {
        let (length, begun) = (job.lease, Instant::now());
        let is_taken = store.claim_job(job.name, length).await?;
        let (expires, renew_at) = (begun + length, begun + length / 3);
        Ok(is_taken.then_some(Self { store, job: job.name, length, expires, renew_at }))
    }

    /// Whether this replica still holds the lease, which is renewed when that is due.
    pub(crate) async fn is_held(&mut self) -> bool {
        Instant::now() < self.renew_at || self.renew().await
    }

    /// Renews the lease again and again. Returns when it is lost.
    pub(crate) async fn lost(&mut self) {
        loop {
            tokio::time::sleep_until(self.renew_at).await;
            if !self.renew().await {
                return;
            }
        }
    }

    /// Records the end of the run and gives the lease back.
    pub(crate) async fn finish(self, error: Option<&str>, next_run: Duration) -> Result<(), StoreError> {
        self.store.finish_job(self.job, error, next_run).await
    }

    /// Gives the lease back before the work is done.
    pub(crate) async fn release(self) -> Result<(), StoreError> {
        self.store.release_job(self.job).await
    }

    /// While the database cannot be reached nobody else can take the lease either, until it runs out.
    async fn renew(&mut self) -> bool {
        let begun = Instant::now();
        match self.store.renew_job(self.job, self.length).await {
            Ok(true) => {
                self.expires = begun + self.length;
                self.renew_at = begun + self.length / 3;
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::debug!(job = self.job, error = &error as &dyn std::error::Error, "a lease was not renewed");
                self.renew_at = Instant::now() + RETRY;
                Instant::now() < self.expires
            }
        }
    }
}
