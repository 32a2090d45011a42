//! The open streams by user, and when each is judged next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use portcullis_model::{Revocation, SessionState, UserId};

use super::{Ending, StreamEnd};
use crate::credential::Credential;
use crate::decision::permit::Permit;

/// A stream's user, so that those of one user are found together, and its number.
pub(super) type StreamKey = (Option<UserId>, u64);

/// Long before any time of the clock: the stream is judged at once. A revocation comes before a change of the settings,
/// and both before what is only due.
const AT_ONCE: i64 = i64::MIN;
const SOON: i64 = i64::MIN + 1;

/// The open streams.
#[derive(Debug, Default)]
pub(super) struct Registry {
    open: BTreeMap<StreamKey, Stream>,
    /// The streams that were not judged yet. Most answers end before they are.
    new: Vec<StreamKey>,
    /// The times, in Unix seconds, at which the others are judged.
    due: BTreeSet<(i64, StreamKey)>,
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Stream {
    subject: Arc<Subject>,
    session: Option<Arc<SessionState>>,
    ending: Arc<Ending>,
    /// When the stream is judged next; `None` while it is new or being judged.
    due: Option<i64>,
    doubt: Doubt,
}

/// What a stream was permitted by.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) credential: Credential,
    pub(super) method: Method,
    pub(super) path: Box<str>,
    pub(super) client: IpAddr,
}

/// What may have changed a stream's right since it was judged.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// Counts the causes, so that one that arrives during a judgement is not lost.
    causes: u64,
    /// The number of causes that a judgement has settled.
    settled: u64,
    /// The lowest epoch of the user that is not stale.
    user_epoch: i64,
    /// Since when judging has failed, in Unix seconds.
    undecided_since: Option<i64>,
}

/// A stream to be judged.
pub(super) struct Case {
    pub(super) subject: Arc<Subject>,
    pub(super) session: Option<Arc<SessionState>>,
    /// Whether something may have changed, or the stream was never judged.
    pub(super) is_doubted: bool,
    pub(super) user_epoch: i64,
    key: StreamKey,
    causes: u64,
}

/// The outcome of judging a stream.
pub(super) enum Judgement {
    /// The stream may stay open. Its session is this one now; it is judged again at this time, in Unix seconds.
    Stays {
        session: Option<Arc<SessionState>>,
        until: i64,
    },
    Ends(StreamEnd),
    /// The session cannot be looked up at the moment.
    Undecided,
}

impl Stream {
    pub(super) fn of(permit: &Permit, ending: Arc<Ending>) -> Self {
        let session = permit.principal().map(|principal| Arc::clone(&principal.session));
        let user_epoch = session.as_ref().map_or(0, |session| session.user_epoch);
        let subject = Arc::new(Subject {
            credential: permit.0.credential.clone(),
            method: permit.0.method.clone(),
            path: permit.0.path.clone(),
            client: permit.0.source.client,
        });
        let doubt = Doubt { causes: 1, settled: 0, user_epoch, undecided_since: None };
        Self { subject, session, ending, due: None, doubt }
    }
}

impl Registry {
    pub(super) fn add(&mut self, key: StreamKey, stream: Stream) {
        self.open.insert(key, stream);
        self.new.push(key);
    }

    pub(super) fn remove(&mut self, key: StreamKey) {
        if let Some(due) = self.open.remove(&key).and_then(|stream| stream.due) {
            self.due.remove(&(due, key));
        }
        // The new ones are looked at a few times a second. Until then their number is bounded like this.
        if self.new.len() > 2 * self.open.len() + 1024 {
            let open = &self.open;
            self.new.retain(|key| open.contains_key(key));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Ends the streams of a session or user that ended, and has those of a user who changed judged again. Returns whether
    /// there are any of the latter.
    pub(super) fn apply(&mut self, revocation: &Revocation) -> bool {
        let user = Some(revocation.user_id);
        let mut is_doubted = false;
        for (key, stream) in self.open.range_mut((user, 0)..=(user, u64::MAX)) {
            let is_concerned = stream.session.as_ref().is_some_and(|session| match revocation.session_id {
                Some(id) => session.id == id,
                // The feed may tell an earlier change again, after a later one.
                None => session.user_epoch < revocation.epoch,
            });
            if !is_concerned {
                continue;
            }
            if revocation.ends {
                stream.ending.reach(StreamEnd::SessionEnded);
                continue;
            }
            if revocation.session_id.is_none() {
                stream.doubt.user_epoch = stream.doubt.user_epoch.max(revocation.epoch);
            }
            doubt(*key, stream, AT_ONCE, &mut self.due);
            is_doubted = true;
        }
        is_doubted
    }

    /// Has every stream judged again.
    pub(super) fn doubt_all(&mut self) {
        for (key, stream) in &mut self.open {
            doubt(*key, stream, SOON, &mut self.due);
        }
    }

    /// Takes a stream that is due at `now`, in Unix seconds.
    pub(super) fn take_due(&mut self, now: i64) -> Option<Case> {
        if let Some(key) = self.due.first().filter(|(due, _)| *due <= now).map(|(_, key)| *key) {
            self.due.pop_first();
            return self.case(key);
        }
        while let Some(key) = self.new.pop() {
            // A doubt may have made it due already.
            let is_new = self.open.get(&key).is_some_and(|stream| stream.doubt.settled == 0 && stream.due.is_none());
            if is_new {
                return self.case(key);
            }
        }
        None
    }

    fn case(&mut self, key: StreamKey) -> Option<Case> {
        let stream = self.open.get_mut(&key)?;
        stream.due = None;
        Some(Case {
            subject: Arc::clone(&stream.subject),
            session: stream.session.clone(),
            is_doubted: stream.doubt.causes > stream.doubt.settled,
            user_epoch: stream.doubt.user_epoch,
            key,
            causes: stream.doubt.causes,
        })
    }

    /// Applies a judgement that was made by `now`, in Unix seconds. A stream that is undecided for longer than `patience`
    /// ends: what cannot be confirmed is not permitted.
    pub(super) fn settle(&mut self, case: &Case, judgement: Judgement, now: i64, patience: i64, pause: i64) {
        let Some(stream) = self.open.get_mut(&case.key) else { return };
        let due = match judgement {
            Judgement::Ends(why) => return stream.ending.reach(why),
            Judgement::Undecided => {
                let since = *stream.doubt.undecided_since.get_or_insert(now);
                if now - since >= patience {
                    return stream.ending.reach(StreamEnd::Unconfirmed);
                }
                now + 1
            }
            Judgement::Stays { session, until } => {
                stream.session = session;
                stream.doubt.undecided_since = None;
                stream.doubt.settled = case.causes;
                until.min(now + pause)
            }
        };
        // A doubt that came during the judgement has set the time already.
        if stream.due.is_none() {
            stream.due = Some(due);
            self.due.insert((due, case.key));
        }
    }
}

/// Has a stream judged again at `due`.
fn doubt(key: StreamKey, stream: &mut Stream, due: i64, queue: &mut BTreeSet<(i64, StreamKey)>) {
    stream.doubt.causes += 1;
    let due = stream.due.map_or(due, |known| known.min(due));
    if let Some(known) = stream.due.replace(due) {
        queue.remove(&(known, key));
    }
    queue.insert((due, key));
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use portcullis_testkit::session;

    use super::*;
    use crate::credential::{CredentialKind, Principal};

    /// Registers a stream of a session that was judged once, and is due at 100 s.
    fn open(registry: &mut Registry, number: u64, session: &Arc<SessionState>) -> (StreamKey, Arc<Ending>) {
        let principal = Principal { session: Arc::clone(session), kind: CredentialKind::Bearer, key: None };
        let subject = Arc::new(Subject {
            credential: Credential::Valid(principal),
            method: Method::GET,
            path: "/api/v1/things".into(),
            client: Ipv4Addr::LOCALHOST.into(),
        });
        let ending = Arc::<Ending>::default();
        let doubt = Doubt { causes: 1, settled: 0, user_epoch: session.user_epoch, undecided_since: None };
        let session = Some(Arc::clone(session));
        let key = (session.as_ref().map(|session| session.user_id), number);
        let stream = Stream { subject, session: session.clone(), ending: Arc::clone(&ending), due: None, doubt };
        registry.add(key, stream);
        let case = registry.take_due(0).expect("a new stream is due");
        registry.settle(&case, Judgement::Stays { session, until: 100 }, 0, 10, 1000);
        (key, ending)
    }

    fn ends(session: &SessionState) -> Revocation {
        Revocation { user_id: session.user_id, session_id: Some(session.id), epoch: 2, ends: true }
    }

    fn changes(session: &SessionState, epoch: i64) -> Revocation {
        Revocation { user_id: session.user_id, session_id: None, epoch, ends: false }
    }

    #[test]
    fn ending_a_session_ends_its_own_streams_only() {
        let mut registry = Registry::default();
        let (mine, theirs) = (Arc::new(session().build()), Arc::new(session().build()));
        let ended: Vec<_> =
            [&mine, &mine, &theirs].into_iter().zip(1..).map(|(s, n)| open(&mut registry, n, s).1).collect();
        assert!(!registry.apply(&ends(&mine)), "nothing to judge");
        let ended: Vec<_> = ended.iter().map(|ending| ending.why.get().copied()).collect();
        assert_eq!(ended, [Some(StreamEnd::SessionEnded), Some(StreamEnd::SessionEnded), None]);
    }

    #[test]
    fn ending_all_sessions_of_a_user_spares_a_later_one() {
        let mut registry = Registry::default();
        let mine = Arc::new(session().build());
        let later = Arc::new(session().user(mine.user_id).epochs(1, 2).build());
        let (before, after) = (open(&mut registry, 1, &mine).1, open(&mut registry, 2, &later).1);
        registry.apply(&Revocation { ends: true, ..changes(&mine, 2) });
        assert!(before.why.get().is_some() && after.why.get().is_none());
    }

    #[test]
    fn a_changed_user_is_judged_once_at_once() {
        let mut registry = Registry::default();
        let mine = Arc::new(session().build());
        let (key, _) = open(&mut registry, 1, &mine);
        assert!(registry.take_due(99).is_none(), "not due");
        assert!(registry.apply(&changes(&mine, 2)));
        let case = registry.take_due(1).expect("it is due");
        assert_eq!((case.key, case.is_doubted, case.user_epoch), (key, true, 2));
        let fresh = Some(Arc::new(session().id(mine.id).user(mine.user_id).epochs(1, 2).build()));
        registry.settle(&case, Judgement::Stays { session: fresh, until: 100 }, 1, 10, 1000);
        assert!(!registry.apply(&changes(&mine, 2)), "the feed tells it again");
        assert!(!registry.take_due(100).expect("due at last").is_doubted);
    }

    #[test]
    fn a_change_during_a_judgement_is_not_lost() {
        let mut registry = Registry::default();
        let mine = Arc::new(session().build());
        open(&mut registry, 1, &mine);
        let case = registry.take_due(100).expect("it is due");
        registry.apply(&changes(&mine, 2));
        registry.settle(&case, Judgement::Stays { session: Some(mine), until: i64::MAX }, 100, 10, 1000);
        assert!(registry.take_due(100).is_some_and(|case| case.is_doubted));
    }

    #[test]
    fn sr_56_a_right_that_cannot_be_confirmed_ends() {
        let mut registry = Registry::default();
        let mine = Arc::new(session().build());
        let (_, ending) = open(&mut registry, 1, &mine);
        registry.apply(&changes(&mine, 2));
        for now in 0..=10 {
            assert_eq!(ending.why.get(), None, "after {now} s");
            let case = registry.take_due(now).expect("it is tried every second");
            registry.settle(&case, Judgement::Undecided, now, 10, 1000);
        }
        assert_eq!(ending.why.get(), Some(&StreamEnd::Unconfirmed));
    }

    #[test]
    fn streams_that_ended_leave_nothing() {
        let mut registry = Registry::default();
        let mine = Arc::new(session().build());
        let (key, _) = open(&mut registry, 1, &mine);
        registry.doubt_all();
        registry.remove(key);
        assert!(registry.open.is_empty() && registry.due.is_empty() && registry.take_due(i64::MAX).is_none());
    }
}
