//! The lowest epochs that a copy of a session may have, known from revocations.
//!
//! A copy read before a revocation and put away after it would outlive it.
//! So every copy is held against these floors at the moment it is put away.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use portcullis_model::{Revocation, SessionId, SessionState, UserId};

/// How long a floor is kept at least: many times longer than a copy takes from being read to being put away.
const KEPT: Duration = Duration::from_secs(300);
/// Floors per generation; two generations are kept, so that memory is bounded also while many sign out.
const GENERATION: usize = 50_000;

/// Floors of sessions and of users.
#[derive(Default)]
pub(crate) struct Floors {
    sessions: Generations<SessionId>,
    users: Generations<UserId>,
    /// A user's floor as every copy of their sessions sees it, so that one store makes all of them stale.
    cells: HashMap<UserId, Weak<AtomicI64>>,
}

impl Floors {
    /// Raises the floors by a revocation.
    pub(crate) fn raise(&mut self, revocation: &Revocation) {
        match revocation.session_id {
            Some(session) => self.sessions.raise(session, revocation.epoch),
            None => {
                self.users.raise(revocation.user_id, revocation.epoch);
                if let Some(cell) = self.cells.get(&revocation.user_id).and_then(Weak::upgrade) {
                    cell.fetch_max(revocation.epoch, Ordering::Release);
                }
            }
        }
    }

    /// Whether a copy is from before a revocation.
    pub(crate) fn stale(&self, copy: &SessionState) -> bool {
        copy.session_epoch < self.sessions.floor(&copy.id) || copy.user_epoch < self.users.floor(&copy.user_id)
    }

    /// The floor that a user's copies share.
    pub(crate) fn cell(&mut self, user: UserId) -> Arc<AtomicI64> {
        if let Some(cell) = self.cells.get(&user).and_then(Weak::upgrade) {
            return cell;
        }
        let cell = Arc::new(AtomicI64::new(self.users.floor(&user)));
        self.cells.insert(user, Arc::downgrade(&cell));
        cell
    }

    /// Forgets the cells of users of whom no copy is left.
    pub(crate) fn sweep(&mut self) {
        self.cells.retain(|_, cell| cell.strong_count() > 0);
    }
}

/// A map that forgets by halves.
struct Generations<K> {
    young: HashMap<K, i64>,
    old: HashMap<K, i64>,
    since: Option<Instant>,
}

impl<K> Default for Generations<K> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), since: None }
    }
}

impl<K: Eq + Hash + Copy> Generations<K> {
    fn raise(&mut self, key: K, epoch: i64) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.young.len() >= GENERATION || since.elapsed() >= KEPT {
            self.old = std::mem::take(&mut self.young);
            self.since = Some(Instant::now());
        }
        let floor = self.young.entry(key).or_insert(epoch);
        *floor = epoch.max(*floor);
    }

    fn floor(&self, key: &K) -> i64 {
        let of = |generation: &HashMap<K, i64>| generation.get(key).copied().unwrap_or(i64::MIN);
        of(&self.young).max(of(&self.old))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_bounded_and_recent_floors_are_kept() {
        let mut floors = Generations::<u32>::default();
        let many = u32::try_from(5 * GENERATION).expect("small");
        for key in 0..many {
            floors.raise(key, 2);
        }
        assert!(floors.young.len() + floors.old.len() <= 2 * GENERATION);
        assert_eq!(floors.floor(&(many - 1)), 2);
        assert_eq!(floors.floor(&0), i64::MIN);
    }

    #[test]
    fn a_floor_never_sinks() {
        let mut floors = Generations::<u32>::default();
        floors.raise(1, 5);
        floors.raise(1, 3);
        assert_eq!(floors.floor(&1), 5);
    }
}
