//! The lowest epochs that a copy of a session may have, known from revocations.
//!
//! A copy that was read before a revocation and cached after it would outlive the revocation. So every copy is compared
//! with these floors at the moment it is cached. Memory is bounded, so floors are forgotten in time. A copy that may be
//! older than a forgotten floor is stale whatever its epochs are.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use portcullis_model::{Revocation, SessionId, SessionState, UserId};

/// How long a floor is kept at least, unless very many are raised.
const FLOOR_LIFETIME: Duration = Duration::from_secs(300);
/// Floors per generation. Two generations are kept, so that memory stays bounded while many users sign out.
const GENERATION_SIZE: usize = 50_000;

/// Floors of sessions and of users.
pub(crate) struct EpochFloors {
    sessions: Generations<SessionId>,
    users: Generations<UserId>,
    /// The floor of each user with cached sessions, shared with those copies: raising it once makes all of them stale.
    shared: HashMap<UserId, Weak<AtomicI64>>,
    /// Since when every revocation is told to this process.
    told_since: Instant,
    /// Counts how often `told_since` was set.
    beginnings: u64,
}

/// Which floors were known when the reading of a copy began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadingMark {
    beginnings: u64,
    sessions: u64,
    users: u64,
}

impl Default for EpochFloors {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            sessions: Generations::new(now),
            users: Generations::new(now),
            shared: HashMap::new(),
            told_since: now,
            beginnings: 0,
        }
    }
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

    /// Notes that revocations before this moment may be unknown, and forgets the known ones: in a database that has
    /// replaced another one, epochs may be lower.
    pub(crate) fn begin(&mut self) {
        *self = Self { beginnings: self.beginnings + 1, ..Self::default() };
    }

    /// Marks the beginning of a reading, for [`is_stale`](Self::is_stale).
    pub(crate) fn mark(&self) -> ReadingMark {
        ReadingMark { beginnings: self.beginnings, sessions: self.sessions.turns, users: self.users.turns }
    }

    /// Whether a revocation may have come after the reading of a copy, which began at `mark`.
    pub(crate) fn is_stale(&self, copy: &SessionState, mark: ReadingMark) -> bool {
        // One turn later the floors of that time are the older generation, two turns later they are gone.
        let is_covered = mark.beginnings == self.beginnings
            && self.sessions.turns <= mark.sessions + 1
            && self.users.turns <= mark.users + 1;
        !is_covered
            || copy.session_epoch < self.sessions.floor(&copy.id)
            || copy.user_epoch < self.users.floor(&copy.user_id)
    }

    /// Whether the floors of every revocation after this moment are known.
    pub(crate) fn cover(&self, moment: Instant) -> bool {
        moment >= self.told_since && moment >= self.sessions.old_since && moment >= self.users.old_since
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
    young_since: Instant,
    old_since: Instant,
    /// Counts how often the older half was forgotten.
    turns: u64,
}

impl<K: Eq + Hash + Copy> Generations<K> {
    fn new(now: Instant) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_since: now, old_since: now, turns: 0 }
    }

    fn raise(&mut self, key: K, epoch: i64) {
        if self.young.len() >= GENERATION_SIZE || self.young_since.elapsed() >= FLOOR_LIFETIME {
            self.old = std::mem::take(&mut self.young);
            self.old_since = std::mem::replace(&mut self.young_since, Instant::now());
            self.turns += 1;
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
    use portcullis_model::{Clock, Random};
    use portcullis_testkit::session;

    use super::*;

    #[test]
    fn memory_stays_bounded_and_recent_floors_are_kept() {
        let mut floors = Generations::<u32>::new(Instant::now());
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
        let mut floors = Generations::<u32>::new(Instant::now());
        floors.raise(1, 5);
        floors.raise(1, 3);
        assert_eq!(floors.floor(&1), 5);
    }

    #[test]
    fn sr_64_a_copy_older_than_a_forgotten_floor_is_stale() {
        let mut floors = EpochFloors::default();
        let (begun, mark, copy) = (Instant::now(), floors.mark(), session().build());
        assert!(!floors.is_stale(&copy, mark) && floors.cover(begun));
        floors.raise(&Revocation { user_id: copy.user_id, session_id: Some(copy.id), epoch: 2, ends: true });
        assert!(floors.is_stale(&copy, mark));
        let (clock, random) = (Clock::system(), Random::system());
        for _ in 0..3 * GENERATION_SIZE {
            let session_id = Some(SessionId::new(&clock, &random));
            floors.raise(&Revocation { user_id: copy.user_id, session_id, epoch: 2, ends: true });
        }
        assert_eq!(floors.sessions.floor(&copy.id), i64::MIN, "the floor was not forgotten");
        assert!(floors.is_stale(&copy, mark) && !floors.cover(begun));
        assert!(!floors.is_stale(&copy, floors.mark()), "a copy that is read now is fresh");
    }

    #[test]
    fn sr_64_a_copy_from_before_a_new_beginning_is_stale() {
        let mut floors = EpochFloors::default();
        let (begun, mark, copy) = (Instant::now(), floors.mark(), session().build());
        floors.begin();
        assert!(floors.is_stale(&copy, mark) && !floors.cover(begun));
        assert!(!floors.is_stale(&copy, floors.mark()) && floors.cover(Instant::now()));
    }

    #[test]
    fn floors_of_a_replaced_database_do_not_apply_to_the_next() {
        let mut floors = EpochFloors::default();
        let copy = session().build();
        floors.raise(&Revocation { user_id: copy.user_id, session_id: None, epoch: 9, ends: false });
        assert!(floors.is_stale(&copy, floors.mark()));
        floors.begin();
        assert!(!floors.is_stale(&copy, floors.mark()));
    }
}
