//! Concurrent repetitions of a failure are written together: one of the callers writes for all that wait, so that a line
//! takes one connection of a replica however many attempts repeat at once. Nobody returns before the own event is
//! written, so nothing is lost when the process ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_model::Timestamp;

use super::aggregation::AggregationKey;
use super::append::insert;
use super::event::AuditEvent;
use crate::engine::error::StoreError;
use crate::store::Store;

/// The lines that this process writes now, by their key. It is as large as the number of running requests allows.
#[derive(Default)]
pub(crate) struct Gathering(Mutex<HashMap<[u8; 32], Arc<Line>>>);

#[derive(Default)]
struct Line {
    /// Held by the caller that writes. Waiting for it takes no connection.
    writer: tokio::sync::Mutex<()>,
    /// The repetitions that the next write takes along.
    next: Mutex<Option<Arc<Group>>>,
}

/// Repetitions that are written together.
struct Group {
    members: Mutex<Members>,
    outcome: Mutex<Option<bool>>,
}

#[derive(Clone, Copy)]
struct Members {
    times: i64,
    last_at: Timestamp,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Adds a repetition to the group that is written next.
    fn join(&self, at: Timestamp) -> Arc<Group> {
        let mut next = locked(&self.next);
        if let Some(group) = &*next {
            let mut members = locked(&group.members);
            members.times += 1;
            members.last_at = members.last_at.max(at);
            return Arc::clone(group);
        }
        let members = Mutex::new(Members { times: 1, last_at: at });
        let group = Arc::new(Group { members, outcome: Mutex::new(None) });
        *next = Some(Arc::clone(&group));
        group
    }

    /// Lets nobody join the group any more.
    fn close(&self, group: &Arc<Group>) {
        let mut next = locked(&self.next);
        if next.as_ref().is_some_and(|open| Arc::ptr_eq(open, group)) {
            *next = None;
        }
    }
}

impl Gathering {
    /// Writes a failure, together with the repetitions of it that arrive while another write of its line runs.
    pub(super) async fn append(
        &self,
        store: &Store,
        event: &AuditEvent,
        key: &AggregationKey,
    ) -> Result<(), StoreError> {
        let line = Arc::clone(locked(&self.0).entry(key.sha256).or_default());
        let caller = Caller { gathering: self, key: key.sha256, line };
        let group = caller.line.join(event.at);
        write_once(store, event, key, &caller.line, &group).await
    }
}

/// A caller that writes a line or waits for it, until it is done or cancelled.
struct Caller<'a> {
    gathering: &'a Gathering,
    key: [u8; 32],
    line: Arc<Line>,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        let mut lines = locked(&self.gathering.0);
        // The map and this caller: nobody else waits.
        if Arc::strong_count(&self.line) == 2 {
            lines.remove(&self.key);
        }
    }
}

/// Writes a group unless another member has done so. A member that was cancelled while it wrote leaves that to the next.
async fn write_once(
    store: &Store,
    event: &AuditEvent,
    key: &AggregationKey,
    line: &Line,
    group: &Arc<Group>,
) -> Result<(), StoreError> {
    let _writing = line.writer.lock().await;
    match *locked(&group.outcome) {
        Some(true) => return Ok(()),
        // The others do not each wait for a database that does not answer.
        Some(false) => return Err(StoreError::timed_out()),
        None => {}
    }
    line.close(group);
    let Members { times, last_at } = *locked(&group.members);
    let last_at = (times > 1).then_some(last_at);
    let outcome = insert(store, event, Some(key), times, last_at).await;
    *locked(&group.outcome) = Some(outcome.is_ok());
    outcome
}
