//! The first administrator, and what the command line does with accounts.

use std::time::Duration;

use portcullis_model::mail::MailKind;
use portcullis_model::{Email, Role, SecretString, User};
use portcullis_storage::{NewUser, TokenPurpose};

use crate::audit::Caller;
use crate::change_password::discard_password_links;
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::password_policy::About;
use crate::register::{RegisterInput, Registered};
use crate::tokens::{Beginning, Subject};

/// How long the first administrator's link works.
const LINK_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// An account made at the shell.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// E-mail address; taken as confirmed.
    pub email: String,
    /// Username.
    pub username: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Role.
    pub role: Role,
    /// Password.
    pub password: SecretString,
}

impl Identity {
    /// A one-time token for the first administrator's page; `None` while there
    /// is an administrator (requirement 45).
    pub async fn first_administrator_token(&self) -> Result<Option<SecretString>, IdentityError> {
        if self.store.count_active_admins().await? > 0 {
            return Ok(None);
        }
        let mut tx = self.store.begin().await?;
        let token = self.mint(&mut tx, TokenPurpose::FirstAdmin, None, LINK_LIFETIME).await?;
        tx.commit().await?;
        Ok(Some(token))
    }

    /// Spends the link and makes the administrator. That there is none yet is
    /// checked in the transaction that makes one.
    pub async fn claim_first_administrator(
        &self,
        token: &str,
        input: RegisterInput,
        caller: &Caller,
    ) -> Result<Registered, IdentityError> {
        let details = self.check_registration(&input)?;
        // Asked again below, where it counts; here it keeps strangers from having hashes made for nothing.
        if self.store.count_active_admins().await? > 0 {
            return self.refuse_setup(caller).await;
        }
        let password_hash = self.hash(&details.password).await?;
        let now = self.clock.now();
        let user = self.new_user(details.person, Role::Admin, Some(now));
        let beginning =
            Beginning { user: &user, remember: false, by_cookie: false, amr: vec!["pwd".to_owned()], caller };
        let (session, refresh) = self.begin_session(beginning, now);
        let mut tx = self.store.begin().await?;
        let alone = tx.count_active_admins().await? == 0;
        if !alone || self.spend(&mut tx, token, TokenPurpose::FirstAdmin, now).await?.is_none() {
            drop(tx);
            return self.refuse_setup(caller).await;
        }
        tx.insert_user(&NewUser { user: user.clone(), password_hash: Some(password_hash) }).await?;
        tx.insert_session(&session).await?;
        tx.append_audit(&caller.success("setup.first_administrator", now, user.id, Some(session.id))).await?;
        tx.commit().await?;
        let subject =
            Subject { user: &user, role: user.role, session: session.id, ver: 1, amr: &session.amr, demo: false };
        let tokens = self.issue(&subject, refresh);
        Ok(Registered { user, tokens: Some(tokens), requires_email_verification: false })
    }

    async fn refuse_setup(&self, caller: &Caller) -> Result<Registered, IdentityError> {
        let event = caller.failure("setup.first_administrator", self.clock.now(), None, "no such link");
        self.store.append_audit(&event).await?;
        Err(IdentityError::SetupUnavailable)
    }

    /// Makes an account with any role.
    pub async fn create_user(&self, account: NewAccount, caller: &Caller) -> Result<User, IdentityError> {
        let input = RegisterInput {
            email: account.email,
            username: account.username,
            first_name: account.first_name,
            last_name: account.last_name,
            confirm_password: account.password.clone(),
            password: account.password,
        };
        let details = self.check_registration(&input)?;
        let password_hash = self.hash(&details.password).await?;
        let now = self.clock.now();
        let user = self.new_user(details.person, account.role, Some(now));
        let mut tx = self.store.begin().await?;
        tx.insert_user(&NewUser { user: user.clone(), password_hash: Some(password_hash) }).await?;
        let mut event = caller.success("user.create", now, user.id, None);
        event.actor_id = None;
        tx.append_audit(&event).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Makes a known account an active administrator with this password; every
    /// session of theirs ends.
    pub async fn recover_administrator(
        &self,
        email: &str,
        password: &SecretString,
        caller: &Caller,
    ) -> Result<User, IdentityError> {
        let email = Email::parse(email).map_err(|rejected| IdentityError::Validation(vec![rejected.0]))?;
        let known = self.store.credentials_by_email(&email).await?.ok_or(IdentityError::NotFound)?;
        let password = self.new_password(password, password, &About::user(&known.user))?;
        let password_hash = self.hash(&password).await?;
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        discard_password_links(&mut tx, known.user.id).await?;
        if !tx.recover_admin(known.user.id, &password_hash, now).await? {
            return Err(IdentityError::NotFound);
        }
        tx.enqueue_mail(MailKind::PasswordChanged.as_str(), known.user.id, now).await?;
        let mut event = caller.success("user.recover_admin", now, known.user.id, None);
        event.actor_id = None;
        tx.append_audit(&event).await?;
        tx.commit().await?;
        self.store.user_by_id(known.user.id).await?.ok_or(IdentityError::NotFound)
    }
}
