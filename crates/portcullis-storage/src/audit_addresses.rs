//! Bounds how many client addresses the audit log tells apart, so that a flood from very many addresses does not become
//! as many lines.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Most addresses of one period that have lines of their own.
const MOST_ADDRESSES: usize = 1_000;

/// The addresses that the current period has seen.
#[derive(Default)]
pub(crate) struct AuditAddresses(Mutex<SeenAddresses>);

#[derive(Default)]
struct SeenAddresses {
    period: i64,
    addresses: HashSet<IpAddr>,
}

impl AuditAddresses {
    /// Returns whether an address has lines of its own in this period.
    pub(crate) fn admit(&self, period: i64, ip: IpAddr) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.period != period {
            *seen = SeenAddresses { period, addresses: HashSet::new() };
        }
        seen.addresses.contains(&ip) || (seen.addresses.len() < MOST_ADDRESSES && seen.addresses.insert(ip))
    }
}
