//! The demo account (`docs/contract.md`, "Demo account"): an administrator for trying the product in development.
//!
//! It is a row of the users table, recognised by its id [`UserId::DEMO`], and its sessions are ordinary sessions. Where
//! demo mode is off, and in production always, its password, sessions, tokens and API keys are refused, whatever the
//! database holds.

use std::sync::Arc;

use portcullis_model::policy::Environment;
use portcullis_model::secret::constant_time_eq;
use portcullis_model::{
    Clock, Email, PermissionSet, PresentedPassword, ProfileName, Role, SecretString, Timestamp, User, UserId, Username,
};
use portcullis_storage::{AuditEvent, Credentials, ImportOutcome, ImportedUser, NewUser, Store};

use crate::audit::Caller;
use crate::error::{IdentityError, StartError};
use crate::hashing::PasswordHasher;

/// Usernames of the demo account. The second one is used when a user has the first; nobody can register it, because
/// usernames have no hyphen.
const USERNAMES: [&str; 2] = ["demo", "demo-account"];

/// The gateway itself, which acts for no client.
const GATEWAY: Caller = Caller { ip: None, user_agent: None, request_id: None };

/// The e-mail address and password of the demo account.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// `DEMO_USER_EMAIL`, normalised.
    pub email: Email,
    /// `DEMO_USER_PASSWORD`, as it must be typed.
    pub password: SecretString,
}

/// Whether the demo account is accepted.
pub(crate) struct DemoMode {
    /// Set when demo mode is enabled.
    pub(crate) options: Option<DemoOptions>,
    pub(crate) environment: Environment,
}

/// Creates the demo account.
pub struct DemoAccount {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) hasher: Arc<PasswordHasher>,
    pub(crate) mode: Arc<DemoMode>,
}

impl DemoMode {
    /// The options of the demo account where it is accepted.
    fn accepted(&self) -> Option<&DemoOptions> {
        self.options.as_ref().filter(|_| self.environment != Environment::Production)
    }

    /// Whether the demo account may sign in, and its sessions and tokens are accepted.
    pub(crate) fn is_accepted(&self) -> bool {
        self.accepted().is_some()
    }

    /// Whether this user is the demo account where it is not accepted.
    pub(crate) fn refuses(&self, user: UserId) -> bool {
        user.is_demo() && !self.is_accepted()
    }

    /// Whether these are the exact credentials of the demo account, in production, where their refusal has its own
    /// error.
    pub(crate) fn is_pair_in_production(&self, email: &str, password: &SecretString) -> bool {
        let Some(options) = self.options.as_ref().filter(|_| self.environment == Environment::Production) else {
            return false;
        };
        let email = constant_time_eq(options.email.as_str().as_bytes(), email.as_bytes());
        let password = constant_time_eq(options.password.expose().as_bytes(), password.expose().as_bytes());
        email && password
    }
}

impl DemoAccount {
    /// Creates the demo account where it is accepted, or gives the existing one the configured address and password
    /// again, which ends its sessions. Does nothing where it is not accepted.
    pub async fn prepare(&self) -> Result<(), StartError> {
        let Some(options) = self.mode.accepted() else { return Ok(()) };
        self.try_prepare(options).await.map_err(|error| match error {
            IdentityError::UserExists => StartError::DemoEmailTaken { email: options.email.to_string() },
            source => StartError::DemoAccount { source },
        })
    }

    async fn try_prepare(&self, options: &DemoOptions) -> Result<(), IdentityError> {
        let password = PresentedPassword::new(options.password.expose());
        match self.store.credentials_by_id(UserId::DEMO).await? {
            Some(known) if self.is_configured(&known, options, &password).await? => Ok(()),
            Some(_) => self.restore(options, &password).await,
            None => self.create(options, &password).await,
        }
    }

    async fn is_configured(
        &self,
        known: &Credentials,
        options: &DemoOptions,
        password: &PresentedPassword,
    ) -> Result<bool, IdentityError> {
        let user = &known.user;
        if user.email != options.email || user.role != Role::Admin || !user.is_active || !user.is_email_verified() {
            return Ok(false);
        }
        Ok(self.hasher.compare(GATEWAY.hashing_party(None), password, known.password_hash.clone()).await?.matches)
    }

    async fn create(&self, options: &DemoOptions, password: &PresentedPassword) -> Result<(), IdentityError> {
        let hash = self.hasher.hash(GATEWAY.hashing_party(None), SecretString::new(password.expose())).await?;
        let now = self.clock.now();
        for username in USERNAMES {
            let new = NewUser { user: user(&options.email, username, now), password_hash: Some(hash.clone()) };
            let mut tx = self.store.begin().await?;
            let outcomes = tx.import_users(&[ImportedUser { new, permissions: PermissionSet::new() }]).await?;
            match outcomes.first() {
                Some(ImportOutcome::UsernameTaken) => {}
                Some(ImportOutcome::EmailTaken) | None => return Err(IdentityError::UserExists),
                // Another replica created it in the meantime.
                Some(ImportOutcome::AlreadyExists | ImportOutcome::IdTaken) => return Ok(()),
                Some(ImportOutcome::Created) => {
                    tx.append_audit(&event("demo.create", now)).await?;
                    tx.commit().await?;
                    return Ok(());
                }
            }
        }
        Err(IdentityError::UserExists)
    }

    async fn restore(&self, options: &DemoOptions, password: &PresentedPassword) -> Result<(), IdentityError> {
        let hash = self.hasher.hash(GATEWAY.hashing_party(None), SecretString::new(password.expose())).await?;
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        tx.restore_demo_account(&options.email, &hash, now).await?;
        tx.append_audit(&event("demo.restore", now)).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn user(email: &Email, username: &str, now: Timestamp) -> User {
    let name = |text: &str| ProfileName::from_stored(text.to_owned());
    User {
        id: UserId::DEMO,
        email: email.clone(),
        username: Username::from_stored(username.to_owned()),
        first_name: name("Demo"),
        last_name: name("User"),
        avatar: None,
        role: Role::Admin,
        is_active: true,
        email_verified_at: Some(now),
        last_login_at: None,
        created_at: now,
        updated_at: now,
    }
}

/// An event of the gateway itself, which no user caused.
fn event(action: &'static str, at: Timestamp) -> AuditEvent {
    AuditEvent { actor_id: None, ..GATEWAY.success(action, at, UserId::DEMO, None) }
}
