//! Checks that run side by side, each within its own time.

use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use portcullis_model::Finding;

type Work = Box<dyn for<'a> FnOnce(&'a mut Vec<Finding>) -> BoxFuture<'a, ()> + Send>;

/// A check of one subject, which reports one finding or several.
pub struct Check {
    /// The name that is reported when it takes too long.
    name: String,
    limit: Duration,
    work: Work,
}

impl Check {
    /// Makes a check. What it has found when its time is over is reported all the same.
    pub fn new(
        name: impl Into<String>,
        limit: Duration,
        work: impl for<'a> FnOnce(&'a mut Vec<Finding>) -> BoxFuture<'a, ()> + Send + 'static,
    ) -> Self {
        Self { name: name.into(), limit, work: Box::new(work) }
    }

    /// Makes a check that blocks its thread, as a file system may that does not answer.
    pub fn blocking(name: &'static str, limit: Duration, work: impl FnOnce() -> Vec<Finding> + Send + 'static) -> Self {
        Self::new(name, limit, |found| {
            Box::pin(async move {
                // A panic is a defect of the check, which the hook for panics has shown.
                if let Ok(findings) = tokio::task::spawn_blocking(work).await {
                    found.extend(findings);
                }
            })
        })
    }

    async fn run(self) -> Vec<Finding> {
        let Self { name, limit, work } = self;
        let mut found = Vec::new();
        if tokio::time::timeout(limit, work(&mut found)).await.is_err() {
            found.push(Finding::fail(
                name,
                format!("the check did not end within {} s", limit.as_secs_f64()),
                "what it depends on takes connections and does not answer, or a firewall drops its packets",
            ));
        }
        found
    }
}

/// Runs the checks side by side and returns what they found, in the order of the checks.
pub async fn run(checks: Vec<Check>) -> Vec<Finding> {
    join_all(checks.into_iter().map(Check::run)).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use portcullis_model::finding::Status;

    use super::*;

    #[tokio::test]
    async fn a_check_that_hangs_holds_up_no_other() {
        let hangs = Check::new("hangs", Duration::from_millis(1), |found| {
            Box::pin(async move {
                found.push(Finding::pass("hangs.first", "found in time"));
                pending::<()>().await;
            })
        });
        let works = Check::blocking("works", Duration::from_secs(60), || vec![Finding::pass("works", "good")]);
        let found = run(vec![hangs, works]).await;
        let told: Vec<(&str, Status)> = found.iter().map(|found| (found.check.as_str(), found.status)).collect();
        assert_eq!(told, [("hangs.first", Status::Pass), ("hangs", Status::Fail), ("works", Status::Pass)]);
    }
}
