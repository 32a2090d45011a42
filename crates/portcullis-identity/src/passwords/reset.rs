//! Setting a password by a mailed link, and requesting such a mail (OWASP Forgot Password; SR-10, SR-11 and SR-12).

use portcullis_model::mail::MailKind;
use portcullis_model::secret::sha256;
use portcullis_model::{SecretString, User, UserId};
use portcullis_storage::{AuditEvent, TokenPurpose, UsableToken};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::mail_requests::Recipients;
use crate::one_time_token::discard_links;
use crate::password_policy::About;
use crate::passwords::Passwords;
use crate::rescue::{TAKEN_BACK, replace_names_of_stranger};
use crate::throttle;

/// The form that sets a password by a mailed link.
#[derive(Clone, Debug)]
pub struct ResetPasswordInput {
    /// The token of the link; any text is accepted.
    pub token: SecretString,
    /// The new password as typed.
    pub new: SecretString,
    /// The new password, typed a second time.
    pub confirm: SecretString,
}

/// The action in the audit log.
const ACTION: &str = "auth.reset_password";

impl Passwords {
    /// Mails a link that sets a new password if an active user has this address. The response and the work are the
    /// same otherwise.
    pub async fn forgot(&self, email: &str, caller: &Caller) -> Result<(), IdentityError> {
        let (action, kind) = ("auth.forgot_password", MailKind::ResetPassword);
        let result = self.mail_requests.request(action, kind, email, Recipients::Active, caller).await;
        self.metrics.auth_attempt("forgot_password", result.is_ok());
        result
    }

    /// Mails a user the link that they would get by requesting it themselves (SR-17).
    pub async fn mail_reset_link(&self, id: UserId, caller: &Caller) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let user = self.active_user(id).await?;
        let mut tx = self.store.begin().await?;
        tx.enqueue_mail(MailKind::ResetPassword, user.id, now).await?;
        let event = AuditEvent { actor_id: None, ..caller.success("user.reset", now, user.id, None) };
        tx.append_audit(&event).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Returns a link that sets a new password, for an operator at the command line without a mail server.
    pub async fn reset_link(&self, id: UserId, caller: &Caller) -> Result<SecretString, IdentityError> {
        let now = self.clock.now();
        let user = self.active_user(id).await?;
        let event = AuditEvent { actor_id: None, ..caller.success("user.reset_link", now, user.id, None) };
        self.store.append_audit(&event).await?;
        self.links.mint(&user, TokenPurpose::ResetPassword).await
    }

    async fn active_user(&self, id: UserId) -> Result<User, IdentityError> {
        if id.is_demo() {
            return Err(IdentityError::DemoReadOnly);
        }
        self.store.user_by_id(id).await?.filter(|user| user.is_active).ok_or(IdentityError::NotFound)
    }

    /// Sets the password of the user who received the link, and verifies the address. Everything that others may have
    /// left on the account ends: sessions, API keys, links and waiting mails (SR-51). No session starts.
    pub async fn reset(&self, input: &ResetPasswordInput, caller: &Caller) -> Result<(), IdentityError> {
        let result = self.try_reset(input, caller).await;
        self.metrics.auth_attempt("reset_password", result.is_ok());
        result
    }

    async fn try_reset(&self, input: &ResetPasswordInput, caller: &Caller) -> Result<(), IdentityError> {
        let hash = sha256(input.token.expose().as_bytes());
        // Checked before anything is hashed, so that nobody without a link can fill the hashing queue.
        let Some((purpose, user)) = self.password_link(&hash).await? else {
            return self.refuse_reset(caller).await;
        };
        let Some(account) = self.store.user_by_id(user).await?.filter(|account| account.is_active && !user.is_demo())
        else {
            return self.refuse_reset(caller).await;
        };
        // A refused password leaves the link valid for another attempt.
        let password = self.policy.new_password(&input.new, &input.confirm, &About::user(&account))?;
        let new = self.hasher.hash(caller.hashing_party(Some(user)), SecretString::new(password.expose())).await?;
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        if tx.consume_one_time_token(&hash, purpose, now).await?.is_none() {
            drop(tx);
            return self.refuse_reset(caller).await;
        }
        discard_links(&mut tx, user).await?;
        replace_names_of_stranger(&mut tx, &account).await?;
        if !tx.reset_password_hash(user, &new, now).await? {
            drop(tx);
            return self.refuse_reset(caller).await;
        }
        // A user who follows a mailed link owns the address: from this client their password works even while
        // failures of others lock the user (SR-09).
        let subjects = throttle::subjects(account.email.as_str(), caller.ip);
        throttle::trust_client(&mut tx, user, &subjects, now).await?;
        tx.cancel_mails(user, TAKEN_BACK, now).await?;
        if purpose == TokenPurpose::ResetPassword {
            tx.enqueue_mail(MailKind::PasswordReset, user, now).await?;
        }
        let action = if purpose == TokenPurpose::Invitation { "auth.accept_invitation" } else { ACTION };
        tx.append_audit(&caller.success(action, now, user, None)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The purpose and the user of a valid link that sets a password.
    async fn password_link(&self, hash: &[u8; 32]) -> Result<Option<(TokenPurpose, UserId)>, IdentityError> {
        Ok(match self.store.usable_one_time_token(hash, self.clock.now()).await? {
            Some(UsableToken {
                purpose: purpose @ (TokenPurpose::ResetPassword | TokenPurpose::Invitation),
                user_id: Some(user),
            }) => Some((purpose, user)),
            _ => None,
        })
    }

    async fn refuse_reset(&self, caller: &Caller) -> Result<(), IdentityError> {
        let event = caller.failure(ACTION, self.clock.now(), None, "no such link");
        self.store.append_audit(&event).await?;
        Err(IdentityError::InvalidResetToken)
    }
}
