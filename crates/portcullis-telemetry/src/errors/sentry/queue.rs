//! Reports that wait to be delivered.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The most reports that wait. Each is a few kilobytes.
const MOST_REPORTS: usize = 100;

pub(super) struct ReportQueue<R> {
    waiting: Mutex<VecDeque<R>>,
    added: Notify,
}

impl<R> ReportQueue<R> {
    /// Adds a report. Returns it if there is no room.
    pub(super) fn push(&self, report: R) -> Option<R> {
        let mut waiting = self.waiting();
        if waiting.len() >= MOST_REPORTS {
            return Some(report);
        }
        waiting.push_back(report);
        drop(waiting);
        self.added.notify_one();
        None
    }

    /// Waits for the next report.
    pub(super) async fn next(&self) -> R {
        loop {
            if let Some(report) = self.take() {
                return report;
            }
            self.added.notified().await;
        }
    }

    /// Returns the next report, if one waits.
    pub(super) fn take(&self) -> Option<R> {
        self.waiting().pop_front()
    }

    /// How many reports wait.
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<R>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Default for ReportQueue<R> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), added: Notify::default() }
    }
}
