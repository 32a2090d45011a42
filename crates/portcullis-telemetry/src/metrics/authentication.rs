//! Attempts to authenticate.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::Metrics;
use super::catalogue::Catalogue;

/// What is counted as an attempt to authenticate.
const KINDS: [&str; 9] = [
    "login",
    "register",
    "refresh",
    "logout",
    "verify_email",
    "resend_verification",
    "forgot_password",
    "reset_password",
    "change_password",
];

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
        let attempts: Family<AttemptLabels, Counter> = catalogue.counter("auth_attempts", &["status", "type"], help);
        // A counter that begins with its first event would hide that event from `increase`.
        for r#type in KINDS {
            for status in ["success", "failure"] {
                let _begins_at_zero = attempts.get_or_create(&AttemptLabels { status, r#type });
            }
        }
        Self { attempts, hashes_refused: catalogue.counter_without_labels("password_hash_refused", refused) }
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
