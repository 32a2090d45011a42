//! Delivers reports, one after the other. A server that is gone, slow or unwilling costs reports, which are counted, and
//! nothing else.

use std::time::Duration;

use super::event::envelope;
use super::https::Answer;
use super::transaction::Transaction;
use super::{Report, Sentry};
use crate::Metrics;

/// The longest time of one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The pauses after failed attempts. After the last of them the report is dropped.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// The pause that a server may ask for, if it does not say for how long, and the longest one.
const DEFAULT_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

pub(super) struct Delivery<'a> {
    sentry: &'a Sentry,
    metrics: &'a Metrics,
    /// Whether the log was told that reports do not arrive.
    is_failing: bool,
}

/// How an attempt ended.
#[derive(Debug)]
enum Outcome {
    Delivered,
    /// Another attempt may succeed.
    Failed(String),
    /// The server does not take this report.
    Refused(String),
    /// The server takes no report for a while.
    Limited(Duration),
}

impl<'a> Delivery<'a> {
    pub(super) fn new(sentry: &'a Sentry, metrics: &'a Metrics) -> Self {
        Self { sentry, metrics, is_failing: false }
    }

    /// Delivers a report, or drops and counts it after the last attempt. Returns for how long the server wants to be left
    /// alone.
    pub(super) async fn deliver(&mut self, report: Report) -> Duration {
        let errors = report.errors();
        let Some(envelope) = self.written(report).await else {
            self.drop(errors, "a report cannot be written");
            return Duration::ZERO;
        };
        let mut pauses = PAUSES.into_iter();
        loop {
            match self.attempt(envelope.clone()).await {
                Outcome::Delivered => self.succeeded(),
                Outcome::Refused(why) => self.drop(errors, &why),
                Outcome::Failed(why) => match pauses.next() {
                    Some(pause) => {
                        tokio::time::sleep(pause).await;
                        continue;
                    }
                    None => self.drop(errors, &why),
                },
                Outcome::Limited(pause) => {
                    self.drop(errors, "the server takes no more for now");
                    return pause;
                }
            }
            return Duration::ZERO;
        }
    }

    /// Makes one attempt to deliver a transaction, or drops and counts it. Returns for how long the server is left alone:
    /// after a failure for a while too, because the next transactions come as fast as requests do.
    pub(super) async fn deliver_transaction(&mut self, transaction: Transaction) -> Duration {
        let envelope = transaction.envelope(&self.sentry.options);
        let (why, pause) = match self.attempt(envelope).await {
            Outcome::Delivered => {
                self.succeeded();
                return Duration::ZERO;
            }
            Outcome::Failed(why) | Outcome::Refused(why) => (why, PAUSES[0]),
            Outcome::Limited(pause) => ("the server takes no more for now".to_owned(), pause),
        };
        self.metrics.transaction_dropped();
        self.warn(&why);
        pause
    }

    /// Makes one attempt, at the end of the process.
    pub(super) async fn try_once(&mut self, report: Report) {
        let errors = report.errors();
        if let Some(envelope) = self.written(report).await
            && !matches!(self.attempt(envelope).await, Outcome::Delivered)
        {
            self.drop(errors, "the process stops");
        }
    }

    /// Reading the symbols of a backtrace takes long the first time.
    async fn written(&self, report: Report) -> Option<Vec<u8>> {
        let options = self.sentry.options.clone();
        tokio::task::spawn_blocking(move || envelope(report, &options)).await.ok()
    }

    async fn attempt(&self, envelope: Vec<u8>) -> Outcome {
        match tokio::time::timeout(TIMEOUT, self.sentry.https.post(envelope)).await {
            Ok(Ok(answer)) => judge(&answer),
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(_) => Outcome::Failed("no answer in time".to_owned()),
        }
    }

    fn succeeded(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("reports reach Sentry again");
        }
    }

    fn drop(&mut self, errors: u64, why: &str) {
        self.metrics.error_reports_dropped(errors);
        self.warn(why);
    }

    /// Logs that reports do not arrive, once until one does.
    fn warn(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(reason = why, "reports do not reach Sentry; they are dropped and counted");
        }
    }
}

fn judge(answer: &Answer) -> Outcome {
    match answer.status {
        // A proxy or a captive portal may answer anything with a page.
        200..300 if !answer.body.is_empty() && !answer.body.starts_with(b"{") => {
            Outcome::Refused("the answer is not one of Sentry".to_owned())
        }
        200..300 => Outcome::Delivered,
        429 => Outcome::Limited(
            answer.retry_after().map_or(DEFAULT_PAUSE, |seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE)),
        ),
        500.. => Outcome::Failed(format!("status {}", answer.status)),
        status => Outcome::Refused(format!("status {status}")),
    }
}
