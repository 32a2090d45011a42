//! Gathering what repeats in the audit log (requirement 49): failures of one kind about one account from one address
//! become one line a minute, with how often and when last. A flood from very many addresses loses the addresses
//! beyond the first thousand of a minute, never the accounts that it concerned.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use portcullis_model::secret::sha256;

use crate::audit::AuditEvent;

/// How long repetitions are one line, in seconds.
const PERIOD: i64 = 60;
/// Addresses of a period that are kept apart.
const ADDRESSES: usize = 1_000;

/// Which addresses this period has seen.
#[derive(Default)]
pub(crate) struct Gathering(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    period: i64,
    addresses: HashSet<IpAddr>,
}

/// Under which name an event is gathered.
pub(crate) struct Gathered {
    /// A SHA-256.
    pub(crate) name: [u8; 32],
    /// The line speaks of many addresses.
    pub(crate) without_address: bool,
}

impl Gathering {
    pub(crate) fn name(&self, event: &AuditEvent) -> Gathered {
        let period = event.at.timestamp().div_euclid(PERIOD);
        let without_address = event.ip.is_some_and(|ip| !self.is_apart(period, ip));
        let address = event.ip.filter(|_| !without_address);
        let name = sha256(
            format!(
                "{period}\n{}\n{:?}\n{:?}\n{:?}\n{address:?}\n{:?}",
                event.action, event.actor_id, event.subject_id, event.session_id, event.details
            )
            .as_bytes(),
        );
        Gathered { name, without_address }
    }

    /// Whether an address has lines of its own.
    fn is_apart(&self, period: i64, ip: IpAddr) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.period != period {
            *seen = Seen { period, addresses: HashSet::new() };
        }
        seen.addresses.contains(&ip) || (seen.addresses.len() < ADDRESSES && seen.addresses.insert(ip))
    }
}
