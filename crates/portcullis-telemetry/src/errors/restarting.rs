//! Tasks that outlive their panics.

use std::pin::pin;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Errors, catch_panic_in};

/// The pause before a task that panicked begins anew, so that one that always panics does not keep a processor busy.
const PAUSE: Duration = Duration::from_secs(1);

impl Errors {
    /// Runs a task until it ends. After each panic, which is counted and recorded under the task's name, it begins anew,
    /// unless `stopping` is cancelled.
    pub async fn restart_after_panics<F>(
        &self,
        name: &'static str,
        stopping: &CancellationToken,
        task: impl Fn() -> F + Send + Sync,
    ) where
        F: Future<Output = ()> + Send,
    {
        loop {
            // Boxed, because each is as large as all that it awaits.
            let running = Box::pin(async { task().await });
            let Err(panic) = catch_panic_in(pin!(running)).await else { return };
            self.panicked(&panic, Some(name));
            tracing::error!(task = name, panic = panic.message(), "a task panicked; it begins anew");
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stopping.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{Metrics, MetricsOptions};

    #[tokio::test]
    async fn a_task_that_panics_is_recorded_and_begins_anew() {
        let metrics = Metrics::new(&MetricsOptions::default(), "test");
        let errors = Errors::new(metrics.clone(), || Duration::ZERO);
        let begun = AtomicUsize::new(0);
        let task = || {
            let time = begun.fetch_add(1, Ordering::SeqCst);
            async move { assert!(time > 0, "the first time is bad luck") }
        };
        errors.restart_after_panics("flaky", &CancellationToken::new(), task).await;
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        let recorded = errors.next().await;
        assert_eq!((recorded[0].times, recorded[0].route.as_deref()), (1, Some("flaky")));
        assert!(metrics.render(false).contains("panics_total 1\n"));
    }
}
