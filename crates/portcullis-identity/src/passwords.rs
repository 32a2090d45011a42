//! Changing and resetting passwords.

mod change;
mod reset;

use std::sync::Arc;

use portcullis_model::Clock;
use portcullis_storage::Store;
use portcullis_telemetry::Metrics;

use crate::hashing::PasswordHasher;
use crate::mail_links::MailLinks;
use crate::mail_requests::MailRequests;
use crate::outliving::Outliving;
use crate::password_policy::PasswordPolicy;
use crate::throttle::Throttle;

pub use change::ChangePasswordInput;
pub use reset::ResetPasswordInput;

/// Changes passwords, and resets them by mailed links.
#[derive(Clone)]
pub struct Passwords {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) policy: Arc<PasswordPolicy>,
    pub(crate) hasher: Arc<PasswordHasher>,
    pub(crate) throttle: Throttle,
    pub(crate) links: MailLinks,
    pub(crate) mail_requests: MailRequests,
    pub(crate) outliving: Outliving,
}
