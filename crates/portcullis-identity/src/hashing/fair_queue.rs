//! The passwords that wait for a hashing thread. Clients take turns: a client that sends many waits for its own ones, and
//! delays every other client by one hash at most (SR-57).

use std::collections::{HashMap, VecDeque};

use portcullis_model::{ClientNetwork, UserId};

/// On whose behalf a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HashingParty {
    /// The client's network; `None` for the command line and the process itself.
    pub(crate) client: Option<ClientNetwork>,
    /// The user whose credential or mailed link the request carries. Not the user whom a sign-in merely names, or
    /// strangers could use up the share of a user.
    pub(crate) user: Option<UserId>,
}

/// Why a job was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The client or the user has as many waiting jobs as one of them may have.
    Share,
    /// The queue is full, and no client has more waiting jobs than this one would have.
    Full,
}

/// A bounded queue with a lane for each client.
pub(crate) struct FairQueue<T> {
    lanes: HashMap<Option<ClientNetwork>, VecDeque<(HashingParty, T)>>,
    /// The clients with waiting jobs, in the order of their turns.
    turns: VecDeque<Option<ClientNetwork>>,
    /// How many waiting jobs each user has.
    users: HashMap<UserId, usize>,
    waiting: usize,
    capacity: usize,
    share: usize,
}

impl<T> FairQueue<T> {
    /// Makes a queue of `capacity` jobs, of which one client and one user may have `share`.
    pub(crate) fn new(capacity: usize, share: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            users: HashMap::new(),
            waiting: 0,
            capacity: capacity.max(1),
            share: share.max(1),
        }
    }

    /// Returns the number of waiting jobs.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns why a job of this party would be refused now, if it would.
    pub(crate) fn refusal(&self, party: HashingParty) -> Option<Refused> {
        let of_client = self.lanes.get(&party.client).map_or(0, VecDeque::len);
        let of_user = party.user.and_then(|user| self.users.get(&user)).copied().unwrap_or_default();
        if of_client >= self.share || of_user >= self.share {
            return Some(Refused::Share);
        }
        let is_full = self.waiting >= self.capacity;
        (is_full && self.longest().is_none_or(|(_, length)| length <= of_client + 1)).then_some(Refused::Full)
    }

    /// Queues a job. In a full queue it takes the place of the last job of the client with the most waiting jobs, which
    /// is returned.
    pub(crate) fn push(&mut self, party: HashingParty, job: T) -> Result<Option<T>, Refused> {
        if let Some(refused) = self.refusal(party) {
            return Err(refused);
        }
        let mut displaced = None;
        if self.waiting >= self.capacity
            && let Some((client, _)) = self.longest()
        {
            let last = self.lanes.get_mut(&client).and_then(VecDeque::pop_back);
            displaced = last.map(|(party, job)| self.forget(party, job));
            self.close_if_empty(client);
        }
        let lane = self.lanes.entry(party.client).or_default();
        if lane.is_empty() {
            self.turns.push_back(party.client);
        }
        lane.push_back((party, job));
        self.waiting += 1;
        if let Some(user) = party.user {
            *self.users.entry(user).or_default() += 1;
        }
        Ok(displaced)
    }

    /// Takes the oldest job of the client whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let client = self.turns.pop_front()?;
        let (party, job) = self.lanes.get_mut(&client)?.pop_front()?;
        if self.lanes.get(&client).is_some_and(VecDeque::is_empty) {
            self.lanes.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        Some(self.forget(party, job))
    }

    /// Takes out every job that `is_wanted` does not want any more.
    pub(crate) fn take_unwanted(&mut self, is_wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let clients: Vec<_> = self.turns.iter().copied().collect();
        let mut unwanted = Vec::new();
        for client in clients {
            let Some(lane) = self.lanes.get_mut(&client) else { continue };
            let (wanted, others): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(lane).into_iter().partition(|(_, job)| is_wanted(job));
            *lane = wanted;
            for (party, job) in others {
                unwanted.push(self.forget(party, job));
            }
            self.close_if_empty(client);
        }
        unwanted
    }

    /// Returns the client with the most waiting jobs, and their number.
    fn longest(&self) -> Option<(Option<ClientNetwork>, usize)> {
        self.lanes.iter().map(|(client, lane)| (*client, lane.len())).max_by_key(|(_, length)| *length)
    }

    /// Counts a job out that has left its lane.
    fn forget(&mut self, party: HashingParty, job: T) -> T {
        self.waiting -= 1;
        if let Some(user) = party.user
            && let Some(count) = self.users.get_mut(&user)
        {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&user);
            }
        }
        job
    }

    fn close_if_empty(&mut self, client: Option<ClientNetwork>) {
        if self.lanes.get(&client).is_some_and(VecDeque::is_empty) {
            self.lanes.remove(&client);
            self.turns.retain(|other| *other != client);
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::{Clock, Random};

    use super::*;

    fn client(last: u8) -> HashingParty {
        HashingParty { client: Some(ClientNetwork::V4([192, 0, 2, last])), user: None }
    }

    #[test]
    fn sr_57_clients_take_turns() {
        let mut queue = FairQueue::new(8, 4);
        for (party, job) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")] {
            assert_eq!(queue.push(client(party), job), Ok(None));
        }
        let served: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(served, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert!(queue.lanes.is_empty() && queue.turns.is_empty() && queue.waiting() == 0);
    }

    #[test]
    fn sr_57_a_client_has_a_share_of_the_queue() {
        let mut queue = FairQueue::new(8, 2);
        assert!(queue.push(client(1), 1).is_ok() && queue.push(client(1), 2).is_ok());
        assert_eq!(queue.push(client(1), 3), Err(Refused::Share));
        assert_eq!(queue.push(client(2), 4), Ok(None));
    }

    #[test]
    fn sr_57_a_user_has_a_share_at_all_addresses_together() {
        let mut queue = FairQueue::new(8, 2);
        let user = Some(UserId::new(&Clock::system(), &Random::system()));
        for last in [1, 2] {
            assert_eq!(queue.push(HashingParty { user, ..client(last) }, last), Ok(None));
        }
        assert_eq!(queue.push(HashingParty { user, ..client(3) }, 3), Err(Refused::Share));
        assert_eq!(queue.push(client(3), 3), Ok(None));
        queue.pop();
        assert_eq!(queue.push(HashingParty { user, ..client(4) }, 4), Ok(None), "its first job is done");
    }

    #[test]
    fn sr_57_a_full_queue_makes_room_at_the_cost_of_the_busiest() {
        let mut queue = FairQueue::new(4, 3);
        for (party, job) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1")] {
            assert_eq!(queue.push(client(party), job), Ok(None));
        }
        assert_eq!(queue.push(client(3), "c1"), Ok(Some("a3")));
        assert_eq!(queue.push(client(4), "d1"), Ok(Some("a2")));
        assert_eq!(queue.push(client(5), "e1"), Err(Refused::Full), "everybody has one");
        assert_eq!(queue.waiting(), 4);
    }

    #[test]
    fn unwanted_jobs_leave_the_queue() {
        let mut queue = FairQueue::new(8, 4);
        for job in 1..=3 {
            assert_eq!(queue.push(client(1), job), Ok(None));
        }
        assert_eq!(queue.push(client(2), 4), Ok(None));
        assert_eq!(queue.take_unwanted(|job| job % 2 == 1), [2, 4]);
        assert_eq!((queue.pop(), queue.pop(), queue.pop(), queue.waiting()), (Some(1), Some(3), None, 0));
    }
}
