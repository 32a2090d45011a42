//! Attempts to authenticate.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::Metrics;
use super::catalogue::Catalogue;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    status: &'static str,
    r#type: &'static str,
}

pub(super) struct AuthenticationFamilies {
    attempts: Family<AttemptLabels, Counter>,
    hashes_refused: Counter,
}

impl AuthenticationFamilies {
    pub(super) fn register(catalogue: &mut Catalogue) -> Self {
        let help = "Logins, registrations, token refreshes and similar attempts, by status and type";
        let refused = "Passwords that were not hashed because the queue, or a share of it, was full";
        Self {
            attempts: catalogue.counter("auth_attempts", &["status", "type"], help),
            hashes_refused: catalogue.counter_without_labels("password_hash_refused", refused),
        }
    }
}

impl Metrics {
    /// Counts an attempt to authenticate. `kind` is `login`, `register`, `refresh` and so on.
    pub fn auth_attempt(&self, kind: &'static str, success: bool) {
        let status = if success { "success" } else { "failure" };
        self.0.authentication.attempts.get_or_create(&AttemptLabels { status, r#type: kind }).inc();
    }

    /// Counts a password that was not hashed because the queue, or a share of it, was full.
    pub fn password_hash_refused(&self) {
        self.0.authentication.hashes_refused.inc();
    }
}
