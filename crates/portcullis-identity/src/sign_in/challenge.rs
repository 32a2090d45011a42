//! The second step of a sign-in: which further factors are asked.

use portcullis_model::Amr;

use crate::sign_in::SignIn;
use crate::sign_in::verify::Verified;

/// What stands between a verified password and a session.
pub(super) enum Challenge {
    /// No further factor is asked.
    Passed(Authenticated),
}

/// The methods that authenticated a sign-in. Only a passed challenge makes one, and only with one a session starts.
pub(super) struct Authenticated {
    amr: Vec<Amr>,
}

impl Authenticated {
    /// The methods in the order in which they were used (RFC 8176).
    pub(super) fn amr(&self) -> &[Amr] {
        &self.amr
    }
}

impl SignIn {
    /// Decides what is asked after the password. No user has a second factor yet, so nothing is.
    pub(super) fn challenge(&self, _verified: &Verified) -> Challenge {
        Challenge::Passed(Authenticated { amr: vec![Amr::Password] })
    }
}
