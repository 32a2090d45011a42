//! The lowest epochs that a copy of a session may have, known from revocations.
//!
//! A copy that was read before a revocation and cached after it would outlive the revocation. So every copy is compared
//! with these floors at the moment it is cached.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use portcullis_model::{Revocation, SessionId, SessionState, UserId};

/// How long a floor is kept at least: many times longer than the time between reading a copy and caching it.
const FLOOR_LIFETIME: Duration = Duration::from_secs(300);
/// Floors per generation. Two generations are kept, so that memory stays bounded while many users sign out.
const GENERATION_SIZE: usize = 50_000;

/// Floors of sessions and of users.
#[derive(Default)]
pub(crate) struct EpochFloors {
    sessions: Generations<SessionId>,
    users: Generations<UserId>,
    /// The floor of each user with cached sessions, shared with those copies: raising it once makes all of them stale.
    shared: HashMap<UserId, Weak<AtomicI64>>,
}

impl EpochFloors {
    /// Raises the floors by a revocation.
    pub(crate) fn raise(&mut self, revocation: &Revocation) {
        match revocation.session_id {
            Some(session) => self.sessions.raise(session, revocation.epoch),
            None => {
                self.users.raise(revocation.user_id, revocation.epoch);
                if let Some(floor) = self.shared.get(&revocation.user_id).and_then(Weak::upgrade) {
                    floor.fetch_max(revocation.epoch, Ordering::Release);
                }
            }
        }
    }

    /// Whether a copy was read before a revocation that is known here.
    pub(crate) fn is_stale(&self, copy: &SessionState) -> bool {
        copy.session_epoch < self.sessions.floor(&copy.id) || copy.user_epoch < self.users.floor(&copy.user_id)
    }

    /// The user's floor that all cached copies of this user's sessions share.
    pub(crate) fn shared_floor(&mut self, user: UserId) -> Arc<AtomicI64> {
        if let Some(floor) = self.shared.get(&user).and_then(Weak::upgrade) {
            return floor;
        }
        let floor = Arc::new(AtomicI64::new(self.users.floor(&user)));
        self.shared.insert(user, Arc::downgrade(&floor));
        floor
    }

    /// Removes the shared floors of users without a cached session.
    pub(crate) fn sweep(&mut self) {
        self.shared.retain(|_, floor| floor.strong_count() > 0);
    }
}

/// A map of bounded size that forgets the older half of its entries at once.
struct Generations<K> {
    young: HashMap<K, i64>,
    old: HashMap<K, i64>,
    young_since: Option<Instant>,
}

impl<K> Default for Generations<K> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_since: None }
    }
}

impl<K: Eq + Hash + Copy> Generations<K> {
    fn raise(&mut self, key: K, epoch: i64) {
        let since = *self.young_since.get_or_insert_with(Instant::now);
        if self.young.len() >= GENERATION_SIZE || since.elapsed() >= FLOOR_LIFETIME {
            self.old = std::mem::take(&mut self.young);
            self.young_since = Some(Instant::now());
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
        let many = u32::try_from(5 * GENERATION_SIZE).expect("small");
        for key in 0..many {
            floors.raise(key, 2);
        }
        assert!(floors.young.len() + floors.old.len() <= 2 * GENERATION_SIZE);
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
