//! Repeated failures become one line (SR-49): failures of one kind, about one user, from one address, within one minute
//! at one replica share a line, which holds their number and the time of the last. Replicas have lines of their own, so
//! that they do not wait for each other. The addresses beyond the first thousand of a minute
//! share lines too; the users never do.

use portcullis_model::secret::sha256;

use super::event::AuditEvent;
use crate::audit_addresses::AuditAddresses;

/// Period within which repetitions share a line, in seconds.
const PERIOD: i64 = 60;

/// The key under which repetitions of an event share a line.
pub(crate) struct AggregationKey {
    pub(crate) sha256: [u8; 32],
    /// Whether the line stands for many addresses and therefore shows none.
    pub(crate) hides_address: bool,
}

/// Computes the key of an event.
pub(crate) fn key(addresses: &AuditAddresses, replica: &str, event: &AuditEvent) -> AggregationKey {
    let period = event.at.timestamp().div_euclid(PERIOD);
    let hides_address = event.ip.is_some_and(|ip| !addresses.admit(period, ip));
    let address = event.ip.filter(|_| !hides_address);
    let sha256 = sha256(
        format!(
            "{replica}\n{period}\n{}\n{:?}\n{:?}\n{:?}\n{address:?}\n{:?}",
            event.action, event.actor_id, event.subject_id, event.session_id, event.details
        )
        .as_bytes(),
    );
    AggregationKey { sha256, hides_address }
}
