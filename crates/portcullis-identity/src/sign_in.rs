//! Signing in and out, and refreshing the tokens of a session.
//!
//! A login has three steps: [`verify`] checks the password, [`challenge`] decides which further factors are asked,
//! [`complete`] starts the session. A second factor adds a challenge and leaves the password step as it is.

mod challenge;
mod complete;
mod logout;
mod refresh;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::session::Transport;
use portcullis_model::{Clock, SecretString, User};
use portcullis_storage::Store;
use portcullis_telemetry::Metrics;

use crate::audit::Caller;
use crate::demo_account::DemoMode;
use crate::error::IdentityError;
use crate::hashing::{PasswordHasher, Presence};
use crate::outliving::Outliving;
use crate::session_issuer::{IssuedTokens, SessionIssuer};
use crate::sign_in::challenge::Challenge;
use crate::throttle::Throttle;

pub use logout::Logout;

/// Login, refresh and logout.
#[derive(Clone)]
pub struct SignIn {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) hasher: Arc<PasswordHasher>,
    pub(crate) throttle: Throttle,
    pub(crate) issuer: SessionIssuer,
    /// `registration.require_verified_email`.
    pub(crate) require_verified_email: bool,
    /// How long after a rotation the old refresh token still gets its successor.
    pub(crate) grace: Duration,
    pub(crate) demo: Arc<DemoMode>,
    pub(crate) outliving: Outliving,
}

/// The sign-in form.
#[derive(Clone, Debug)]
pub struct LoginInput {
    /// E-mail address as typed; any text is accepted.
    pub email: String,
    /// Password as typed; any text is accepted.
    pub password: SecretString,
    /// Whether the session gets the longer absolute limit.
    pub remember_me: bool,
    /// Whether the client keeps the tokens in cookies.
    pub transport: Transport,
}

/// The state of a sign-in after a step. A second factor adds a variant.
#[derive(Debug)]
pub enum LoginOutcome {
    /// A session has started.
    Complete(SignedIn),
}

/// A session that a sign-in started.
#[derive(Debug)]
pub struct SignedIn {
    /// The user as of this sign-in.
    pub user: User,
    /// The tokens of the new session.
    pub tokens: IssuedTokens,
}

impl SignIn {
    /// Checks a password and starts a session.
    ///
    /// An unknown user, a wrong password, an inactive user, a locked user and a user without a password get the same
    /// error after the same work: one query, one hash, one count, one audit event (SR-10). A sign-in is counted and
    /// audited even if its client hangs up (SR-65).
    pub async fn login(&self, input: LoginInput, caller: &Caller) -> Result<LoginOutcome, IdentityError> {
        // Refused before it costs a statement.
        self.hasher.admit(caller.hashing_party(None))?;
        let (service, caller) = (self.clone(), caller.clone());
        let work = async move |presence| {
            let result = service.try_login(&input, &caller, presence).await;
            service.metrics.auth_attempt("login", result.is_ok());
            result
        };
        self.outliving.run(work).await
    }

    async fn try_login(
        &self,
        input: &LoginInput,
        caller: &Caller,
        presence: Presence,
    ) -> Result<LoginOutcome, IdentityError> {
        if self.demo.is_pair_in_production(&input.email, &input.password) {
            let event = caller.failure("auth.login", self.clock.now(), None, "the demo account in production");
            self.store.append_audit(&event).await?;
            return Err(IdentityError::DemoInProduction);
        }
        let verified = self.verify(input, caller, presence).await?;
        let Challenge::Passed(authenticated) = self.challenge(&verified);
        match self.complete(&verified, &authenticated, input, caller).await? {
            Some(signed_in) => Ok(LoginOutcome::Complete(signed_in)),
            None => {
                let user = Some(verified.credentials.user.id);
                self.reject(&verified.attempt, user, "account changed meanwhile", verified.at, caller).await
            }
        }
    }
}
