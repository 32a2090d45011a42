//! Setting a password by a mailed link, and asking for such mails
//! (OWASP Forgot Password; requirements 10, 11 and 12).

use std::time::Duration;

use portcullis_model::mail::MailKind;
use portcullis_model::secret::sha256;
use portcullis_model::{Email, InvalidInput, SecretString, UserId};
use portcullis_storage::{AuditEvent, GoodToken, MailRequest, Outcome, TokenPurpose};

use crate::audit::Caller;
use crate::change_password::discard_password_links;
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::password_policy::About;
use crate::throttle;

/// What somebody who followed a link typed.
#[derive(Clone, Debug)]
pub struct ResetPasswordInput {
    /// The token of the link; any text.
    pub token: SecretString,
    /// The new password.
    pub new: SecretString,
    /// The new password once more.
    pub confirm: SecretString,
}

/// What the audit log calls it.
const ACTION: &str = "auth.reset_password";
/// At most so many mails of one kind to one account…
const MOST_MAILS: u64 = 5;
/// …in this time.
const MAILS_WITHIN: Duration = Duration::from_secs(3600);

impl Identity {
    /// Mails a link that sets a new password, if there is an active account
    /// with this address. Answers and costs the same if there is none.
    pub async fn forgot_password(&self, email: &str, caller: &Caller) -> Result<(), IdentityError> {
        let result = self.request_mail("auth.forgot_password", MailKind::ResetPassword, email, false, caller).await;
        self.metrics.auth_attempt("forgot_password", result.is_ok());
        result
    }

    /// Mails a new link that confirms the address, if an active account waits
    /// for that. Answers and costs the same if there is none.
    pub async fn resend_verification(&self, email: &str, caller: &Caller) -> Result<(), IdentityError> {
        let result = self.request_mail("auth.resend_verification", MailKind::VerifyEmail, email, true, caller).await;
        self.metrics.auth_attempt("resend_verification", result.is_ok());
        result
    }

    /// Begins a reset for somebody: they get the mail that they would have asked for (requirement 17).
    pub async fn start_reset(&self, id: UserId, caller: &Caller) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let user = self.store.user_by_id(id).await?.filter(|user| user.is_active).ok_or(IdentityError::NotFound)?;
        let mut tx = self.store.begin().await?;
        tx.enqueue_mail(MailKind::ResetPassword.as_str(), user.id, now).await?;
        let event = AuditEvent { actor_id: None, ..caller.success("user.reset", now, user.id, None) };
        tx.append_audit(&event).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A link that sets a new password, for whoever has the machine's shell and no mail server.
    pub async fn reset_link(&self, id: UserId, caller: &Caller) -> Result<SecretString, IdentityError> {
        let now = self.clock.now();
        let user = self.store.user_by_id(id).await?.filter(|user| user.is_active).ok_or(IdentityError::NotFound)?;
        let event = AuditEvent { actor_id: None, ..caller.success("user.reset_link", now, user.id, None) };
        self.store.append_audit(&event).await?;
        self.link(&user, TokenPurpose::ResetPassword).await
    }

    async fn request_mail(
        &self,
        action: &'static str,
        kind: MailKind,
        email: &str,
        only_unverified: bool,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        // What is no address tells nothing about accounts by being refused.
        let email = Email::parse(email).map_err(|InvalidInput(problem)| IdentityError::Validation(vec![problem]))?;
        let at = self.clock.now();
        let request = MailRequest {
            template: kind.as_str(),
            email: &email,
            only_unverified,
            most: MOST_MAILS,
            within: MAILS_WITHIN,
            at,
        };
        let mut tx = self.store.begin().await?;
        // Nobody has proved to be anybody: the account is the subject, not the actor.
        let event = match tx.request_mail(&request).await? {
            Some(user) => AuditEvent { subject_id: Some(user), ..caller.event(action, Outcome::Success, at) },
            None => caller.failure(action, at, None, "no account to mail, or enough mails"),
        };
        tx.append_audit(&event).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Sets the password of whom the link was mailed to, forgotten or first
    /// one, and confirms the address. Every session ends and none begins.
    pub async fn reset_password(&self, input: &ResetPasswordInput, caller: &Caller) -> Result<(), IdentityError> {
        let result = self.try_reset_password(input, caller).await;
        self.metrics.auth_attempt("reset_password", result.is_ok());
        result
    }

    async fn try_reset_password(&self, input: &ResetPasswordInput, caller: &Caller) -> Result<(), IdentityError> {
        let hash = sha256(input.token.expose().as_bytes());
        // Asked before anything is hashed, so that nobody keeps the hashing room busy without a link.
        let Some((purpose, user)) = self.password_link(&hash).await? else {
            return self.refuse_reset(caller).await;
        };
        let Some(account) = self.store.user_by_id(user).await?.filter(|account| account.is_active) else {
            return self.refuse_reset(caller).await;
        };
        // A password that is refused leaves the link as it is, for another try.
        let password = self.new_password(&input.new, &input.confirm, &About::user(&account))?;
        let new = self.hash(&password).await?;
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        if tx.consume_one_time_token(&hash, purpose, now).await?.is_none() {
            drop(tx);
            return self.refuse_reset(caller).await;
        }
        discard_password_links(&mut tx, user).await?;
        if !tx.reset_password_hash(user, &new, now).await? {
            drop(tx);
            return self.refuse_reset(caller).await;
        }
        // Whoever follows a link that was mailed to them is the owner: here their password works whatever others try.
        let subjects = throttle::subjects(account.email.as_str(), caller.ip);
        tx.forget_failures(&subjects).await?;
        tx.trust_client(&subjects, now, throttle::trusted_until(now)).await?;
        if purpose == TokenPurpose::ResetPassword {
            tx.enqueue_mail(MailKind::PasswordChanged.as_str(), user, now).await?;
        }
        let action = if purpose == TokenPurpose::Invitation { "auth.accept_invitation" } else { ACTION };
        tx.append_audit(&caller.success(action, now, user, None)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// For whom a link sets the password, while it works.
    async fn password_link(&self, hash: &[u8; 32]) -> Result<Option<(TokenPurpose, UserId)>, IdentityError> {
        Ok(match self.store.good_one_time_token(hash, self.clock.now()).await? {
            Some(GoodToken {
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
