//! Reports that wait to be delivered.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Report;

/// The most reports that wait. Each is a few kilobytes.
const MOST_REPORTS: usize = 100;

#[derive(Default)]
pub(super) struct ReportQueue {
    waiting: Mutex<VecDeque<Report>>,
    added: Notify,
}

impl ReportQueue {
    /// Adds a report. Returns how many errors found no room.
    pub(super) fn push(&self, report: Report) -> u64 {
        let mut waiting = self.waiting();
        if waiting.len() >= MOST_REPORTS {
            return report.errors();
        }
        waiting.push_back(report);
        drop(waiting);
        self.added.notify_one();
        0
    }

    /// Waits for the next report.
    pub(super) async fn next(&self) -> Report {
        loop {
            if let Some(report) = self.take() {
                return report;
            }
            self.added.notified().await;
        }
    }

    /// Returns the next report, if one waits.
    pub(super) fn take(&self) -> Option<Report> {
        self.waiting().pop_front()
    }

    /// How many reports wait.
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Report>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
