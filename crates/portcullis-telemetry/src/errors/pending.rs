//! Errors that nobody has fetched yet, in groups.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Fault, FaultKind};

/// The most groups that wait. One message fills few of them; far more than that are no use to anybody.
const MOST_GROUPS: usize = 256;

/// Errors of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrences {
    /// What the errors have in common, as text.
    pub group: String,
    /// The part of the gateway that failed. Errors of different kinds are never one group.
    pub kind: FaultKind,
    /// What happened last, without secrets. For a panic, with its place.
    pub message: String,
    /// The template of the route or the name of the job.
    pub route: Option<String>,
    /// How often the error happened, the repetitions that were only counted included.
    pub times: u64,
    /// When the first of them happened, since 1970.
    pub first_at: Duration,
    /// When the last of them happened, since 1970.
    pub last_at: Duration,
    /// The request of the last of them.
    pub last_request_id: Option<String>,
}

/// The groups that wait to be fetched.
#[derive(Default)]
pub(super) struct PendingErrors {
    groups: Mutex<Groups>,
    added: Notify,
}

impl PendingErrors {
    /// Adds an error to its group. Returns how many errors found no room.
    pub(super) fn add(&self, fault: Fault) -> u64 {
        let group = fault.group();
        let Fault { kind, message, route, location, request_id, trace_id: _, at } = fault;
        let message = match location {
            Some(location) => format!("{message} (at {location})"),
            None => message,
        };
        let dropped = self.groups().add(Occurrences {
            group,
            kind,
            message,
            route,
            times: 1,
            first_at: at,
            last_at: at,
            last_request_id: request_id,
        });
        self.added.notify_one();
        dropped
    }

    /// Puts groups back that were fetched. Returns how many errors found no room.
    pub(super) fn give_back(&self, errors: Vec<Occurrences>) -> u64 {
        let mut groups = self.groups();
        let dropped = errors.into_iter().map(|occurrences| groups.add(occurrences)).sum();
        self.added.notify_one();
        dropped
    }

    pub(super) fn take(&self) -> Vec<Occurrences> {
        self.groups().0.drain().map(|(_, occurrences)| occurrences).collect()
    }

    pub(super) async fn next(&self) -> Vec<Occurrences> {
        loop {
            let errors = self.take();
            if !errors.is_empty() {
                return errors;
            }
            self.added.notified().await;
        }
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At most [`MOST_GROUPS`] groups, by what the errors of each have in common.
#[derive(Default)]
struct Groups(HashMap<String, Occurrences>);

impl Groups {
    /// Adds errors to their group. Returns how many errors found no room.
    fn add(&mut self, errors: Occurrences) -> u64 {
        let is_full = self.0.len() >= MOST_GROUPS;
        match self.0.entry(errors.group.clone()) {
            Entry::Occupied(mut known) => known.get_mut().join(errors),
            Entry::Vacant(_) if is_full => return errors.times,
            Entry::Vacant(new) => {
                new.insert(errors);
            }
        }
        0
    }
}

impl Occurrences {
    /// Adds errors of the same group, which may be older.
    fn join(&mut self, other: Self) {
        self.times = self.times.saturating_add(other.times);
        self.first_at = self.first_at.min(other.first_at);
        if other.last_at >= self.last_at {
            self.last_at = other.last_at;
            self.message = other.message;
            self.last_request_id = other.last_request_id;
        }
    }
}
