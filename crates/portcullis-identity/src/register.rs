//! Signing up.

use portcullis_model::mail::MailKind;
use portcullis_model::{
    Email, InvalidInput, NewPassword, PresentedPassword, ProfileName, Role, SecretString, Timestamp, User, UserId,
    Username,
};
use portcullis_storage::NewUser;

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::hashing::Compared;
use crate::identity::{Identity, Parts, RegistrationMode};
use crate::password_policy::About;
use crate::tokens::{Beginning, IssuedTokens, Subject};

/// What somebody typed to sign up.
#[derive(Clone, Debug)]
pub struct RegisterInput {
    /// E-mail address.
    pub email: String,
    /// Username.
    pub username: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Password.
    pub password: SecretString,
    /// The password once more.
    pub confirm_password: SecretString,
}

/// A new account.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The account.
    pub user: User,
    /// Its first session; none when the address must be confirmed first.
    pub tokens: Option<IssuedTokens>,
    /// Whether the address is still to be confirmed.
    pub requires_email_verification: bool,
}

/// How a registration ended.
#[derive(Clone, Debug)]
pub enum RegisterOutcome {
    /// An account was made.
    Registered(Box<Registered>),
    /// Whether one was made is told by mail only (`registration.reveal_existing = false`).
    Received,
}

/// The method by which somebody proved who they are (RFC 8176).
pub(crate) const BY_PASSWORD: &str = "pwd";

impl Identity {
    /// Makes an account and signs it in.
    pub async fn register(&self, input: RegisterInput, caller: &Caller) -> Result<RegisterOutcome, IdentityError> {
        let result = self.try_register(input, caller).await;
        self.metrics.auth_attempt("register", result.is_ok());
        let reveals = self.options.registration.reveal_existing;
        match result {
            Ok(registered) if reveals => Ok(RegisterOutcome::Registered(Box::new(registered))),
            Ok(_) => Ok(RegisterOutcome::Received),
            Err(IdentityError::UserExists) if !reveals => Ok(RegisterOutcome::Received),
            Err(error) => Err(error),
        }
    }

    async fn try_register(&self, input: RegisterInput, caller: &Caller) -> Result<Registered, IdentityError> {
        if self.options.registration.mode != RegistrationMode::Open {
            return Err(IdentityError::RegistrationClosed);
        }
        let details = self.check_registration(&input)?;
        let password_hash = self.hash(&details.password).await?;
        let user = self.new_user(details.person, Role::Developer, None);
        match self.store_registration(&user, password_hash, caller).await {
            Err(IdentityError::UserExists) => {
                self.note_taken(&user, caller).await?;
                Err(IdentityError::UserExists)
            }
            other => other,
        }
    }

    /// Writes down that somebody tried a taken name and, where the answer does
    /// not tell, mails the address's owner.
    async fn note_taken(&self, user: &User, caller: &Caller) -> Result<(), IdentityError> {
        let owner = if self.options.registration.reveal_existing {
            None
        } else {
            self.store.credentials_by_email(&user.email).await?.map(|known| known.user.id)
        };
        let mut tx = self.store.begin().await?;
        if let Some(owner) = owner {
            tx.enqueue_mail(MailKind::AlreadyRegistered.as_str(), owner, user.created_at).await?;
        }
        tx.append_audit(&caller.failure("auth.register", user.created_at, owner, "email or username taken")).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn store_registration(
        &self,
        user: &User,
        password_hash: SecretString,
        caller: &Caller,
    ) -> Result<Registered, IdentityError> {
        let now = user.created_at;
        let registration = &self.options.registration;
        let signs_in = registration.reveal_existing && !registration.require_verified_email;
        let mut tx = self.store.begin().await?;
        tx.insert_user(&NewUser { user: user.clone(), password_hash: Some(password_hash) }).await?;
        let mut session = None;
        if signs_in {
            let amr = vec![BY_PASSWORD.to_owned()];
            let beginning = Beginning { user, remember: false, by_cookie: false, amr, caller };
            let (new, refresh) = self.begin_session(beginning, now);
            tx.insert_session(&new).await?;
            session = Some((new, refresh));
        }
        tx.enqueue_mail(MailKind::VerifyEmail.as_str(), user.id, now).await?;
        let session_id = session.as_ref().map(|(new, _)| new.id);
        tx.append_audit(&caller.success("auth.register", now, user.id, session_id)).await?;
        tx.commit().await?;
        let tokens = session.map(|(new, refresh)| {
            let subject =
                Subject { user, role: user.role, session: new.id, ver: FIRST_EPOCH, amr: &new.amr, demo: false };
            self.issue(&subject, refresh)
        });
        Ok(Registered { user: user.clone(), tokens, requires_email_verification: true })
    }
}

/// The epoch in which every account begins.
const FIRST_EPOCH: i64 = 1;

/// Values that passed every rule.
pub(crate) struct Details {
    pub(crate) person: Person,
    pub(crate) password: NewPassword,
}

/// Who an account is for.
pub(crate) struct Person {
    pub(crate) email: Email,
    pub(crate) username: Username,
    pub(crate) first_name: ProfileName,
    pub(crate) last_name: ProfileName,
}

impl Parts {
    /// Checks all values and tells every problem at once; a confirmation that
    /// differs is told by its own name when nothing else is wrong.
    pub(crate) fn check_registration(&self, input: &RegisterInput) -> Result<Details, IdentityError> {
        let RegisterInput { email, username, first_name, last_name, password, confirm_password } = input;
        let mut problems = Vec::new();
        let person = self.check_person([email, username, first_name, last_name], &mut problems);
        let about = About { email, username, first_name, last_name };
        let checked = keep(self.check_password(password, &about), &mut problems);
        let (Some(person), Some(checked)) = (person, checked) else {
            return Err(IdentityError::Validation(problems));
        };
        if password.expose() != confirm_password.expose() {
            return Err(IdentityError::PasswordsDoNotMatch);
        }
        Ok(Details { person, password: checked })
    }

    /// Checks e-mail address, username, first and last name, in this order.
    pub(crate) fn check_person(&self, values: [&str; 4], problems: &mut Vec<String>) -> Option<Person> {
        let [email, username, first_name, last_name] = values;
        let email = keep(Email::parse(email), problems);
        let username = keep(Username::parse(username), problems);
        let first_name = keep(ProfileName::parse("First name", first_name), problems);
        let last_name = keep(ProfileName::parse("Last name", last_name), problems);
        Some(Person { email: email?, username: username?, first_name: first_name?, last_name: last_name? })
    }

    /// Compares what was typed, any text at all, with a stored hash.
    pub(crate) async fn compare(
        &self,
        presented: &SecretString,
        stored: Option<SecretString>,
    ) -> Result<Compared, IdentityError> {
        let presented = PresentedPassword::new(presented.expose());
        let compared = self.hashing.compare(SecretString::new(presented.expose()), stored).await;
        compared.map_err(|_busy| IdentityError::Busy)
    }

    pub(crate) async fn hash(&self, password: &NewPassword) -> Result<SecretString, IdentityError> {
        self.hashing.make(SecretString::new(password.expose())).await.map_err(|_busy| IdentityError::Busy)
    }

    pub(crate) fn new_user(&self, person: Person, role: Role, email_verified_at: Option<Timestamp>) -> User {
        let now = self.clock.now();
        User {
            id: UserId::new(&self.clock, &self.random),
            email: person.email,
            username: person.username,
            first_name: person.first_name,
            last_name: person.last_name,
            avatar: None,
            role,
            is_active: true,
            email_verified_at,
            last_login_at: None,
            created_at: now,
            updated_at: now,
        }
    }
}

pub(crate) fn keep<T>(parsed: Result<T, InvalidInput>, problems: &mut Vec<String>) -> Option<T> {
    parsed.map_err(|InvalidInput(problem)| problems.push(problem)).ok()
}
