//! Signing in.

use portcullis_model::{Email, PresentedPassword, SecretString, Timestamp, User};
use portcullis_storage::{AttemptSubjects, Credentials, SignInView};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::register::BY_PASSWORD;
use crate::throttle;
use crate::tokens::{Beginning, IssuedTokens, Subject};

/// What somebody typed to sign in.
#[derive(Clone, Debug)]
pub struct LoginInput {
    /// E-mail address; any text.
    pub email: String,
    /// Password; any text.
    pub password: SecretString,
    /// Whether the session may last longer.
    pub remember_me: bool,
    /// Whether the tokens will be kept in cookies.
    pub by_cookie: bool,
}

/// Where a sign-in stands after the password. Second factors add an answer
/// here, and change none.
#[derive(Debug)]
pub enum LoginOutcome {
    /// Signed in.
    Complete(SignIn),
}

/// A new session.
#[derive(Debug)]
pub struct SignIn {
    /// Who signed in.
    pub user: User,
    /// The session's tokens.
    pub tokens: IssuedTokens,
}

/// A sign-in under way.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    input: &'a LoginInput,
    view: &'a SignInView,
    subjects: &'a AttemptSubjects,
    caller: &'a Caller,
    now: Timestamp,
}

impl Identity {
    /// Checks a password and begins a session.
    ///
    /// Unknown, wrong, inactive and passwordless answer alike and do the same
    /// work: one select, one hash, one count, one audit row (requirement 10).
    pub async fn login(&self, input: LoginInput, caller: &Caller) -> Result<LoginOutcome, IdentityError> {
        let result = self.try_login(input, caller).await;
        self.metrics.auth_attempt("login", result.is_ok());
        result.map(LoginOutcome::Complete)
    }

    async fn try_login(&self, input: LoginInput, caller: &Caller) -> Result<SignIn, IdentityError> {
        if let Some(demo) = &self.demo
            && demo.is_for(&input)
        {
            return self.demo_login(demo, caller).await;
        }
        let password = PresentedPassword::new(input.password.expose());
        // An address that cannot exist is looked up all the same.
        let email = Email::parse(&input.email).unwrap_or_else(|_| Email::from_stored(String::new()));
        let subjects = throttle::subjects(&input.email, caller.ip);
        let view = self.store.sign_in_view(&email, &subjects, caller.ip).await?;
        self.may_try("auth.login", &view, caller).await?;
        let stored = view.credentials.as_ref().and_then(|known| known.password_hash.clone());
        let compared = self.compare(&input.password, stored).await?;
        let now = self.clock.now();
        let reason = match &view.credentials {
            None => "unknown account",
            Some(known) if known.password_hash.is_none() => "no password",
            Some(_) if !compared.matches => "wrong password",
            Some(known) if !known.user.is_active => "inactive account",
            Some(_) if self.locks(&view, view.account.count) => "too many failures",
            Some(known) if self.options.registration.require_verified_email && !known.user.is_email_verified() => {
                self.store
                    .append_audit(&caller.failure("auth.login", now, Some(known.user.id), "email not verified"))
                    .await?;
                return Err(IdentityError::EmailNotVerified);
            }
            Some(known) => {
                let outdated = compared.outdated.then_some(&password);
                let attempt = Attempt { input: &input, view: &view, subjects: &subjects, caller, now };
                if let Some(sign_in) = self.begin(known, outdated, &attempt).await? {
                    return Ok(sign_in);
                }
                if let Some(changed) = self.changed_harmlessly(known).await?
                    && let Some(sign_in) = self.begin(&changed, None, &attempt).await?
                {
                    return Ok(sign_in);
                }
                "account changed meanwhile"
            }
        };
        let user = view.credentials.map(|known| known.user.id);
        self.failed(&subjects, now).await?;
        self.store.append_audit(&caller.failure("auth.login", now, user, reason)).await?;
        Err(IdentityError::InvalidCredentials)
    }

    /// The account as it is now, if the password that was compared is still the
    /// one and the account may still sign in: another role, or an address
    /// confirmed in the meantime, is no reason to call good credentials bad.
    async fn changed_harmlessly(&self, known: &Credentials) -> Result<Option<Credentials>, IdentityError> {
        let hash = |credentials: &Credentials| credentials.password_hash.as_ref().map(|hash| hash.expose().to_owned());
        let now = self.store.credentials_by_id(known.user.id).await?;
        Ok(now.filter(|now| now.user.is_active && hash(now) == hash(known)))
    }

    /// Writes the session; `None` if the account changed since it was read, or too many failures came meanwhile.
    async fn begin(
        &self,
        known: &Credentials,
        outdated: Option<&PresentedPassword>,
        attempt: &Attempt<'_>,
    ) -> Result<Option<SignIn>, IdentityError> {
        let Attempt { input, view, subjects, caller, now } = *attempt;
        let rehashed = match outdated {
            // With the room full, a later sign-in may do it: this one is good as it is.
            Some(password) => self.hashing.make(SecretString::new(password.expose())).await.ok(),
            None => None,
        };
        let user = User { last_login_at: Some(now), ..known.user.clone() };
        let amr = vec![BY_PASSWORD.to_owned()];
        let beginning = Beginning { user: &user, remember: input.remember_me, by_cookie: input.by_cookie, amr, caller };
        let (session, refresh) = self.begin_session(beginning, now);
        let mut tx = self.store.begin().await?;
        tx.insert_session(&session).await?;
        if !tx.record_login(user.id, known.epoch, now).await? {
            return Ok(None);
        }
        if let (Some(new), Some(old)) = (&rehashed, &known.password_hash) {
            tx.replace_password_hash(user.id, old, new).await?;
        }
        if view.account.count > 0 || view.pair.count > 0 {
            // However many attempts ran at once: a success counts only if it is not the one after the last allowed.
            let failures = tx.forget_failures(subjects).await?;
            if self.locks(view, failures) {
                return Ok(None);
            }
        }
        tx.append_audit(&caller.success("auth.login", now, user.id, Some(session.id))).await?;
        tx.commit().await?;
        let subject = Subject {
            user: &user,
            role: user.role,
            session: session.id,
            ver: known.epoch,
            amr: &session.amr,
            demo: false,
        };
        let tokens = self.issue(&subject, refresh);
        Ok(Some(SignIn { user, tokens }))
    }
}
