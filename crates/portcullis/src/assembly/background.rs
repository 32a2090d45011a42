//! The tasks that run beside requests. A task that panics is recorded and begins anew.

use std::sync::Arc;

use portcullis_telemetry::Errors;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Application;
use super::error_writer::ErrorWriter;

impl Application {
    /// Starts the tasks that run beside requests until `stopping` is cancelled: the revocation feed, the notifier of
    /// other replicas, the jobs, the outbox, the writing of errors.
    pub(crate) fn start_background(&self, stopping: &CancellationToken) -> TaskTracker {
        let tasks = Tasks { tracker: TaskTracker::new(), errors: self.errors.clone(), stopping: stopping.clone() };
        let feed = Arc::clone(&self.feed);
        tasks.start("revocation_feed", move |stop| Arc::clone(&feed).follow(stop));
        let jobs = Arc::clone(&self.jobs);
        tasks.start("jobs", move |stop| Arc::clone(&jobs).run(stop));
        let identity = Arc::clone(&self.identity);
        tasks.start("signing_keys", move |stop| {
            let identity = Arc::clone(&identity);
            async move { identity.signing_keys.follow(stop).await }
        });
        let gate = Arc::clone(&self.front.gate);
        tasks.start("live_streams", move |stop| {
            let gate = Arc::clone(&gate);
            async move { gate.judge_streams(stop).await }
        });
        let feed = Arc::clone(&self.feed);
        let notified = move || feed.notify();
        match self.redis.clone() {
            Some(redis) => {
                let notified = Arc::new(notified);
                tasks.start("notifications", move |stop| redis.clone().listen(Arc::clone(&notified) as _, stop));
            }
            None => {
                let store = self.store.clone();
                tasks.start("notifications", move |stop| store.clone().listen(notified.clone(), stop));
            }
        }
        if let Some(sender) = self.mail.clone() {
            let identity = Arc::clone(&self.identity);
            tasks.start("outbox", move |stop| {
                let (identity, sender) = (Arc::clone(&identity), Arc::clone(&sender));
                async move { identity.mailer.run(sender, stop).await }
            });
        }
        let writer =
            ErrorWriter { errors: self.errors.clone(), store: self.store.clone(), release: self.release.clone() };
        tasks.start("errors", move |stop| writer.clone().run(stop));
        if self.errors.has_sentry() {
            let errors = self.errors.clone();
            tasks.start("sentry", move |stop| {
                let errors = errors.clone();
                async move { errors.deliver_to_sentry(stop).await }
            });
        }
        tasks.tracker
    }
}

struct Tasks {
    tracker: TaskTracker,
    errors: Errors,
    stopping: CancellationToken,
}

impl Tasks {
    /// Runs a task until it ends, anew after each panic.
    fn start<F>(&self, name: &'static str, task: impl Fn(CancellationToken) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (errors, stopping) = (self.errors.clone(), self.stopping.clone());
        self.tracker.spawn(async move {
            errors.restart_after_panics(name, &stopping, || task(stopping.clone())).await;
        });
    }
}
