//! Registration: new users who register themselves, the verification of their addresses, and the first administrator.

mod first_administrator;

use std::sync::Arc;

use portcullis_model::mail::MailKind;
use portcullis_model::session::Transport;
use portcullis_model::{Amr, Clock, Random, Role, SecretString, User, UserId};
use portcullis_storage::{NewUser, Store, TokenPurpose};
use portcullis_telemetry::Metrics;

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::hashing::PasswordHasher;
use crate::mail_requests::{MailRequests, Recipients};
use crate::one_time_token::{OneTimeTokens, Redeemed, redeem};
use crate::password_policy::PasswordPolicy;
use crate::session_issuer::{FIRST_EPOCH, IssuedTokens, SessionIssuer, SessionStart, TokenSubject};
use crate::throttle;
use crate::user_fields::RegisterInput;

/// Registers users, verifies addresses and makes the first administrator.
pub struct Registration {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) metrics: Metrics,
    pub(crate) policy: Arc<PasswordPolicy>,
    pub(crate) hasher: Arc<PasswordHasher>,
    pub(crate) issuer: SessionIssuer,
    pub(crate) tokens: OneTimeTokens,
    pub(crate) mail_requests: MailRequests,
    pub(crate) options: RegistrationOptions,
}

/// `[registration]`: who may register, and under which conditions.
#[derive(Clone, Copy, Debug)]
pub struct RegistrationOptions {
    /// Who may register.
    pub mode: RegistrationMode,
    /// Whether a user must verify the address before the first sign-in.
    pub require_verified_email: bool,
    /// Whether the response to a registration tells that the address or username is taken.
    pub reveal_existing: bool,
}

/// Who may register (`registration.mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Anybody may register.
    Open,
    /// Users are invited; nobody registers.
    Invite,
    /// Administrators create users; nobody registers.
    Closed,
}

/// A user who was just registered.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The new user.
    pub user: User,
    /// The tokens of the user's first session; `None` when the address must be verified first.
    pub tokens: Option<IssuedTokens>,
    /// Whether the address is still to be verified.
    pub requires_email_verification: bool,
}

/// The outcome of a registration.
#[derive(Clone, Debug)]
pub enum RegisterOutcome {
    /// A user was created.
    Registered(Box<Registered>),
    /// The form was received; only a mail tells whether a user was created (`registration.reveal_existing = false`).
    Received,
}

impl Registration {
    /// Creates a user and signs them in.
    pub async fn register(&self, input: RegisterInput, caller: &Caller) -> Result<RegisterOutcome, IdentityError> {
        let result = self.try_register(input, caller).await;
        self.metrics.auth_attempt("register", result.is_ok());
        let reveals = self.options.reveal_existing;
        match result {
            Ok(registered) if reveals => Ok(RegisterOutcome::Registered(Box::new(registered))),
            Ok(_) => Ok(RegisterOutcome::Received),
            Err(IdentityError::UserExists) if !reveals => Ok(RegisterOutcome::Received),
            Err(error) => Err(error),
        }
    }

    async fn try_register(&self, input: RegisterInput, caller: &Caller) -> Result<Registered, IdentityError> {
        if self.options.mode != RegistrationMode::Open {
            return Err(IdentityError::RegistrationClosed);
        }
        let checked = input.check(&self.policy)?;
        if !self.options.reveal_existing && self.store.is_username_taken(checked.profile.username()).await? {
            // Usernames are public. This says nothing about the address, because it does not depend on it, and comes
            // before anything that does.
            let event = caller.failure("auth.register", self.clock.now(), None, "username taken");
            self.store.append_audit(&event).await?;
            return Err(IdentityError::UsernameTaken);
        }
        let password_hash =
            self.hasher.hash(caller.hashing_party(None), SecretString::new(checked.password.expose())).await?;
        let id = UserId::new(&self.clock, &self.random);
        let user = checked.profile.into_user(id, Role::OF_REGISTRANTS, None, self.clock.now());
        match self.store_registration(&user, password_hash, caller).await {
            Err(taken @ (IdentityError::UserExists | IdentityError::UsernameTaken)) => {
                self.record_conflict(&user, caller).await?;
                Err(taken)
            }
            other => other,
        }
    }

    /// Records that a taken address or username was used. Where the response does not tell, the owner of the address
    /// gets a mail.
    async fn record_conflict(&self, user: &User, caller: &Caller) -> Result<(), IdentityError> {
        let owner = if self.options.reveal_existing {
            None
        } else {
            self.store
                .credentials_by_email(&user.email)
                .await?
                .map(|known| known.user.id)
                .filter(|owner| !owner.is_demo())
        };
        let event = caller.failure("auth.register", user.created_at, owner, "email or username taken");
        self.store.append_audit(&event).await?;
        if let Some(owner) = owner {
            let mut tx = self.store.begin().await?;
            tx.enqueue_mail(MailKind::AlreadyRegistered, owner, user.created_at).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn store_registration(
        &self,
        user: &User,
        password_hash: SecretString,
        caller: &Caller,
    ) -> Result<Registered, IdentityError> {
        let now = user.created_at;
        let signs_in = self.options.reveal_existing && !self.options.require_verified_email;
        let mut tx = self.store.begin().await?;
        tx.insert_registered_user(&NewUser { user: user.clone(), password_hash: Some(password_hash) }).await?;
        let mut session = None;
        if signs_in {
            let started = self.issuer.start(first_session(user, caller), now);
            tx.insert_session(&started.0).await?;
            let subjects = throttle::subjects(user.email.as_str(), caller.ip);
            throttle::remember_client(&mut tx, user.id, &subjects, now).await?;
            session = Some(started);
        }
        tx.enqueue_mail(MailKind::VerifyEmail, user.id, now).await?;
        let session_id = session.as_ref().map(|(new, _)| new.id);
        tx.append_audit(&caller.success("auth.register", now, user.id, session_id)).await?;
        tx.commit().await?;
        let tokens = session.map(|(new, refresh)| {
            let subject = TokenSubject { user, session: new.id, epoch: FIRST_EPOCH, amr: &new.amr };
            self.issuer.tokens(&subject, refresh)
        });
        Ok(Registered { user: user.clone(), tokens, requires_email_verification: true })
    }

    /// Verifies an address by the token that was mailed to it.
    pub async fn verify_email(&self, token: &str, caller: &Caller) -> Result<(), IdentityError> {
        let result = self.try_verify_email(token, caller).await;
        self.metrics.auth_attempt("verify_email", result.is_ok());
        result
    }

    async fn try_verify_email(&self, token: &str, caller: &Caller) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let Redeemed::For(user) = redeem(&mut tx, token, TokenPurpose::VerifyEmail, now).await? else {
            drop(tx);
            self.store.append_audit(&caller.failure("auth.verify_email", now, None, "no such token")).await?;
            return Err(IdentityError::InvalidVerificationToken);
        };
        // Before the user's row, in the order of every transaction.
        tx.discard_one_time_tokens(TokenPurpose::VerifyEmail, Some(user)).await?;
        tx.set_email_verified(user, now).await?;
        tx.append_audit(&caller.success("auth.verify_email", now, user, None)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Mails a new verification link if an active user has this address and has not verified it. The response and
    /// the work are the same otherwise (SR-10).
    pub async fn resend_verification(&self, email: &str, caller: &Caller) -> Result<(), IdentityError> {
        let (action, kind) = ("auth.resend_verification", MailKind::VerifyEmail);
        let result = self.mail_requests.request(action, kind, email, Recipients::Unverified, caller).await;
        self.metrics.auth_attempt("resend_verification", result.is_ok());
        result
    }
}

/// The session that starts with a new user.
fn first_session<'a>(user: &'a User, caller: &'a Caller) -> SessionStart<'a> {
    SessionStart {
        user,
        remember: false,
        transport: Transport::Token,
        epoch: FIRST_EPOCH,
        amr: &[Amr::Password],
        caller,
    }
}
