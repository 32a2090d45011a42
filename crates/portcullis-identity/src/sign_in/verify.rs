//! The first step of a sign-in: the password.

use portcullis_model::{Email, PresentedPassword, Timestamp, UserId};
use portcullis_storage::{AttemptSubjects, Credentials, SignInView};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::hashing::Comparison;
use crate::sign_in::{LoginInput, SignIn};
use crate::throttle;

/// A user whose password was right and who may sign in.
pub(super) struct Verified {
    pub(super) credentials: Credentials,
    /// The counters of failed attempts, as read before the password was compared.
    pub(super) view: SignInView,
    pub(super) subjects: AttemptSubjects,
    /// The password, when its stored hash is to be replaced by one of today's cost (SR-07).
    pub(super) rehash: Option<PresentedPassword>,
    /// When the password was found right.
    pub(super) at: Timestamp,
}

impl SignIn {
    /// Checks the throttle, reads the user once and computes one hash, whether the user exists or not (SR-10).
    pub(super) async fn verify(&self, input: &LoginInput, caller: &Caller) -> Result<Verified, IdentityError> {
        let party = caller.hashing_party(None);
        self.hasher.admit(party)?;
        let password = PresentedPassword::new(input.password.expose());
        // A text that is no address is looked up as well, so that it costs the same.
        let email = Email::parse(&input.email).unwrap_or_else(|_| Email::from_stored(String::new()));
        let subjects = throttle::subjects(&input.email, caller.ip);
        let mut view = self.store.sign_in_view(&email, &subjects, caller.ip).await?;
        self.throttle.check("auth.login", &view, caller).await?;
        let stored = view.credentials.as_ref().and_then(|known| known.password_hash.clone());
        let compared = self.hasher.compare(party, &password, stored).await?;
        let at = self.clock.now();
        if let Some(reason) = self.refusal(&view, compared) {
            let user = view.credentials.map(|known| known.user.id);
            return self.reject(&subjects, user, reason, at, caller).await;
        }
        let credentials = view.credentials.take().expect("an unknown user was refused above");
        if self.require_verified_email && !credentials.user.is_email_verified() {
            let user = Some(credentials.user.id);
            self.store.append_audit(&caller.failure("auth.login", at, user, "email not verified")).await?;
            return Err(IdentityError::EmailNotVerified);
        }
        Ok(Verified { credentials, view, subjects, rehash: compared.outdated.then_some(password), at })
    }

    /// Why these credentials do not sign in, for the audit log. Clients see one error for all reasons.
    fn refusal(&self, view: &SignInView, compared: Comparison) -> Option<&'static str> {
        match &view.credentials {
            None => Some("unknown account"),
            Some(known) if known.password_hash.is_none() => Some("no password"),
            Some(_) if !compared.matches => Some("wrong password"),
            Some(known) if !known.user.is_active => Some("inactive account"),
            Some(known) if self.demo.refuses(known.user.id) => Some("demo mode is off"),
            Some(_) if self.throttle.locks(view, view.account.count) => Some("too many failures"),
            Some(_) => None,
        }
    }

    /// Counts a failed sign-in, records it in the audit log, and gives the error that clients see.
    pub(super) async fn reject<T>(
        &self,
        subjects: &AttemptSubjects,
        user: Option<UserId>,
        reason: &str,
        at: Timestamp,
        caller: &Caller,
    ) -> Result<T, IdentityError> {
        self.throttle.count_failure(subjects, at).await?;
        self.store.append_audit(&caller.failure("auth.login", at, user, reason)).await?;
        Err(IdentityError::InvalidCredentials)
    }
}
