//! The latest refusals of this process, so that an operator can find out why a request was refused.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Method;
use portcullis_model::{Timestamp, UserId};

use crate::decision::phase::Phase;
use crate::decision::refusal::Refusal;
use crate::request::request_id::RequestId;

/// The number of refusals that are kept. The oldest one is dropped first.
const CAPACITY: usize = 1024;
/// The most bytes of a path that are kept.
const MAX_PATH_BYTES: usize = 256;

/// One refusal. It holds no header, no query and no credential (SR-47).
#[derive(Clone, Debug)]
pub struct RefusalRecord {
    /// The request's id, which the client has in `X-Request-Id`.
    pub request_id: RequestId,
    /// When the request was refused.
    pub at: Timestamp,
    /// The method as the client wrote it.
    pub method: Method,
    /// The beginning of the path as the client wrote it.
    pub path: Box<str>,
    /// The route's template, or `unmatched`.
    pub route: Box<str>,
    /// The client's address.
    pub client: IpAddr,
    /// The user, if the credential had been classified by then.
    pub user: Option<UserId>,
    /// The phase that refused the request.
    pub phase: Phase,
    /// The reason of the refusal.
    pub refusal: Refusal,
}

/// A ring buffer of refusals.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    ring: Mutex<VecDeque<RefusalRecord>>,
}

impl RefusalLog {
    pub(crate) fn add(&self, record: RefusalRecord) {
        let mut ring = self.ring();
        if ring.len() == CAPACITY {
            ring.pop_front();
        }
        ring.push_back(record);
    }

    /// Returns the latest refusals, the newest first.
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

/// Returns the beginning of a path that is kept.
pub(crate) fn shortened(path: &str) -> Box<str> {
    let mut end = path.len().min(MAX_PATH_BYTES);
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
    fn the_log_is_bounded_and_finds_by_request_id() {
        let (ring, ids) = (RefusalLog::default(), crate::request::request_id::RequestIds::new(&Random::system()));
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
        let (first, last) = (ids.next().0, ids.next().0);
        ring.add(record(first));
        for _ in 0..CAPACITY {
            ring.add(record(ids.next().0));
        }
        ring.add(record(last));
        assert!(ring.find(first.as_str()).is_none(), "the oldest goes first");
        let found = ring.find(last.as_str()).expect("kept");
        assert_eq!((found.path.len(), found.refusal), (256, Refusal::NotFound));
        assert_eq!(ring.latest(usize::MAX).len(), CAPACITY);
        assert_eq!(ring.latest(1)[0].request_id.as_str(), last.as_str());
    }
}
