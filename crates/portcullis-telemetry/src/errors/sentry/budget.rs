//! How many reports of a group are sent: ten a minute.

use std::collections::HashMap;
use std::time::Duration;

/// The most reports of a group in a window.
const MOST_REPORTS: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// The most groups that are remembered.
const MOST_GROUPS: usize = 1_024;

/// What groups have used up.
#[derive(Default)]
pub(super) struct Budget(HashMap<String, Usage>);

struct Usage {
    since: Duration,
    sent: u32,
    unsent: u64,
}

/// Whether an error is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// It is, together with the number of those that were not since the last one.
    Granted { unsent: u64 },
    /// It is not; the next report of its group counts it.
    CountedOnly,
    /// It is not, and nothing counts it: there are too many groups.
    NoRoom,
}

impl Budget {
    pub(super) fn ask(&mut self, group: &str, now: Duration) -> Permission {
        if let Some(usage) = self.0.get_mut(group) {
            if usage.is_over(now) {
                (usage.since, usage.sent) = (now, 0);
            }
            if usage.sent < MOST_REPORTS {
                usage.sent += 1;
                return Permission::Granted { unsent: std::mem::take(&mut usage.unsent) };
            }
            usage.unsent += 1;
            return Permission::CountedOnly;
        }
        if self.0.len() >= MOST_GROUPS {
            self.0.retain(|_, usage| usage.unsent > 0 || !usage.is_over(now));
            if self.0.len() >= MOST_GROUPS {
                return Permission::NoRoom;
            }
        }
        self.0.insert(group.to_owned(), Usage { since: now, sent: 1, unsent: 0 });
        Permission::Granted { unsent: 0 }
    }
}

impl Usage {
    /// A clock that was set back begins a new window too.
    fn is_over(&self, now: Duration) -> bool {
        now.checked_sub(self.since).is_none_or(|age| age >= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    #[test]
    fn ten_of_a_group_are_sent_in_a_minute_and_the_rest_is_counted() {
        let mut budget = Budget::default();
        for _ in 0..10 {
            assert_eq!(budget.ask("hot", NOW), Permission::Granted { unsent: 0 });
        }
        for _ in 0..990 {
            assert_eq!(budget.ask("hot", NOW + Duration::from_secs(59)), Permission::CountedOnly);
        }
        assert_eq!(budget.ask("cold", NOW), Permission::Granted { unsent: 0 });
        assert_eq!(budget.ask("hot", NOW + WINDOW), Permission::Granted { unsent: 990 });
        assert_eq!(budget.ask("hot", NOW + WINDOW), Permission::Granted { unsent: 0 });
    }

    #[test]
    fn groups_are_bounded_and_old_ones_make_room() {
        let mut budget = Budget::default();
        for n in 0..MOST_GROUPS {
            budget.ask(&n.to_string(), NOW);
        }
        assert_eq!(budget.ask("new", NOW), Permission::NoRoom);
        assert_eq!(budget.ask("new", NOW + WINDOW), Permission::Granted { unsent: 0 });
        assert_eq!(budget.0.len(), 1);
    }
}
