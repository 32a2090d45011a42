//! The latest refusals of this process, for the question "why was this one turned away?".

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Method;
use portcullis_model::{Timestamp, UserId};

use crate::phase::Phase;
use crate::refusal::Refusal;
use crate::request_id::RequestId;

/// How many are kept. The oldest goes first.
const CAPACITY: usize = 1024;
/// How much of a path is kept, in bytes.
const MAX_PATH: usize = 256;

/// One refusal. Holds no header, no query and no credential (requirement 47).
#[derive(Clone, Debug)]
pub struct RefusalRecord {
    /// Our name for the request.
    pub request_id: RequestId,
    /// When.
    pub at: Timestamp,
    /// The method as the client wrote it.
    pub method: Method,
    /// The beginning of the path as the client wrote it.
    pub path: Box<str>,
    /// The route's template, or `unmatched`.
    pub route: Box<str>,
    /// The client's address.
    pub client: IpAddr,
    /// Who called, if somebody was known to be signed in by then.
    pub user: Option<UserId>,
    /// The phase that refused.
    pub phase: Phase,
    /// Why.
    pub refusal: Refusal,
}

/// The ring.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    ring: Mutex<VecDeque<RefusalRecord>>,
}

impl Refusals {
    pub(crate) fn add(&self, record: RefusalRecord) {
        let mut ring = self.ring();
        if ring.len() == CAPACITY {
            ring.pop_front();
        }
        ring.push_back(record);
    }

    /// The newest first.
    pub(crate) fn latest(&self, most: usize) -> Vec<RefusalRecord> {
        self.ring().iter().rev().take(most).cloned().collect()
    }

    pub(crate) fn find(&self, request_id: &str) -> Option<RefusalRecord> {
        self.ring().iter().rev().find(|record| record.request_id.as_str() == request_id).cloned()
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<RefusalRecord>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept of a path.
pub(crate) fn shortened(path: &str) -> Box<str> {
    let mut end = path.len().min(MAX_PATH);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path[..end].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::{Clock, Random};

    #[test]
    fn the_ring_is_bounded_and_finds_by_request_id() {
        let (ring, ids) = (Refusals::default(), crate::request_id::RequestIds::new(&Random::system()));
        let record = |request_id| RefusalRecord {
            request_id,
            at: Clock::system().now(),
            method: Method::GET,
            path: shortened(&"ä".repeat(300)),
            route: "unmatched".into(),
            client: "127.0.0.1".parse().expect("an address"),
            user: None,
            phase: Phase::Route,
            refusal: Refusal::NotFound,
        };
        let (first, last) = (ids.next(), ids.next());
        ring.add(record(first));
        for _ in 0..CAPACITY {
            ring.add(record(ids.next()));
        }
        ring.add(record(last));
        assert!(ring.find(first.as_str()).is_none(), "the oldest goes first");
        let found = ring.find(last.as_str()).expect("kept");
        assert_eq!((found.path.len(), found.refusal), (256, Refusal::NotFound));
        assert_eq!(ring.latest(usize::MAX).len(), CAPACITY);
        assert_eq!(ring.latest(1)[0].request_id.as_str(), last.as_str());
    }
}
