//! The first step of a sign-in: the password.

use portcullis_model::{Email, PresentedPassword, Timestamp, UserId};
use portcullis_storage::{Credentials, SignInView};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::hashing::{Comparison, NotHashed, Presence};
use crate::sign_in::{LoginInput, SignIn};
use crate::throttle::{self, Attempt};

/// A user whose password was right and who may sign in.
pub(super) struct Verified {
    pub(super) credentials: Credentials,
    /// The attempt, counted before the password was compared.
    pub(super) attempt: Attempt,
    /// The password, when its stored hash is to be replaced by one of today's cost (SR-07).
    pub(super) rehash: Option<PresentedPassword>,
    /// When the password was found right.
    pub(super) at: Timestamp,
}

impl SignIn {
    /// Reads the user once, counts the attempt and computes one hash, whether the user exists or not (SR-10).
    pub(super) async fn verify(
        &self,
        input: &LoginInput,
        caller: &Caller,
        presence: Presence,
    ) -> Result<Verified, IdentityError> {
        let password = PresentedPassword::new(input.password.expose());
        // A text that is no address is looked up as well, so that it costs the same.
        let email = Email::parse(&input.email).unwrap_or_else(|_| Email::from_stored(String::new()));
        let subjects = throttle::subjects(&input.email, caller.ip);
        let mut view = self.store.sign_in_view(&email, &subjects, caller.ip).await?;
        let attempt = self.throttle.admit("auth.login", subjects, &view, caller).await?;
        let stored = view.credentials.as_ref().and_then(|known| known.password_hash.clone());
        let stored = stored.filter(|_| !attempt.is_locked);
        let party = caller.hashing_party(None);
        let compared = match self.hasher.compare_while(party, &password, stored, Some(presence)).await {
            Ok(compared) => compared,
            Err(NotHashed::ClientGone) => {
                let user = view.credentials.map(|known| known.user.id);
                return self.reject(&attempt, user, "the client went away", self.clock.now(), caller).await;
            }
            Err(busy) => {
                self.throttle.release(&attempt).await?;
                return Err(busy.into());
            }
        };
        let at = self.clock.now();
        if let Some(reason) = self.refusal(&view, &attempt, compared) {
            let user = view.credentials.map(|known| known.user.id);
            return self.reject(&attempt, user, reason, at, caller).await;
        }
        let credentials = view.credentials.take().expect("an unknown user was refused above");
        if self.require_verified_email && !credentials.user.is_email_verified() {
            let user = Some(credentials.user.id);
            self.store.append_audit(&caller.failure("auth.login", at, user, "email not verified")).await?;
            return Err(IdentityError::EmailNotVerified);
        }
        Ok(Verified { credentials, attempt, rehash: compared.outdated.then_some(password), at })
    }

    /// Why these credentials do not sign in, for the audit log. Clients see one error for all reasons.
    fn refusal(&self, view: &SignInView, attempt: &Attempt, compared: Comparison) -> Option<&'static str> {
        match &view.credentials {
            None => Some("unknown account"),
            Some(known) if known.password_hash.is_none() => Some("no password"),
            Some(_) if attempt.is_locked => Some("too many failures"),
            Some(_) if !compared.matches => Some("wrong password"),
            Some(known) if !known.user.is_active => Some("inactive account"),
            Some(known) if self.demo.refuses(known.user.id) => Some("demo mode is off"),
            Some(_) => None,
        }
    }

    /// Notes that a sign-in failed, records it in the audit log, and gives the error that clients see.
    pub(super) async fn reject<T>(
        &self,
        attempt: &Attempt,
        user: Option<UserId>,
        reason: &str,
        at: Timestamp,
        caller: &Caller,
    ) -> Result<T, IdentityError> {
        self.throttle.failed(attempt).await?;
        self.store.append_audit(&caller.failure("auth.login", at, user, reason)).await?;
        Err(IdentityError::InvalidCredentials)
    }
}
