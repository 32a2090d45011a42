//! Single-use tokens behind mailed and printed links (requirement 12).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_model::secret::sha256;
use portcullis_model::{SecretString, Timestamp, UserId};
use portcullis_storage::{NewOneTimeToken, TokenPurpose, Tx};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::identity::{Identity, Parts};

impl Parts {
    /// Makes a token, replacing unused ones of the same purpose; the database
    /// gets its hash only.
    pub(crate) async fn mint(
        &self,
        tx: &mut Tx,
        purpose: TokenPurpose,
        user_id: Option<UserId>,
        lifetime: Duration,
    ) -> Result<SecretString, IdentityError> {
        let now = self.clock.now();
        let token = URL_SAFE_NO_PAD.encode(self.random.bytes::<32>());
        tx.discard_one_time_tokens(purpose, user_id).await?;
        let row = NewOneTimeToken {
            hash: sha256(token.as_bytes()),
            purpose,
            user_id,
            created_at: now,
            expires_at: now + lifetime,
        };
        tx.insert_one_time_token(&row).await?;
        Ok(SecretString::new(token))
    }

    /// Spends a token; `None` when it does not work, outer. Inner: whom it was for.
    pub(crate) async fn spend(
        &self,
        tx: &mut Tx,
        token: &str,
        purpose: TokenPurpose,
        now: Timestamp,
    ) -> Result<Option<Option<UserId>>, IdentityError> {
        let spent = tx.consume_one_time_token(&sha256(token.as_bytes()), purpose, now).await?;
        Ok(spent.map(|spent| spent.user_id))
    }
}

impl Identity {
    /// Confirms an address with the token that was mailed to it.
    pub async fn verify_email(&self, token: &str, caller: &Caller) -> Result<(), IdentityError> {
        let result = self.try_verify_email(token, caller).await;
        self.metrics.auth_attempt("verify_email", result.is_ok());
        result
    }

    async fn try_verify_email(&self, token: &str, caller: &Caller) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let spent = self.spend(&mut tx, token, TokenPurpose::VerifyEmail, now).await?;
        let Some(user) = spent.flatten() else {
            drop(tx);
            self.store.append_audit(&caller.failure("auth.verify_email", now, None, "no such token")).await?;
            return Err(IdentityError::InvalidVerificationToken);
        };
        tx.set_email_verified(user, now).await?;
        tx.append_audit(&caller.success("auth.verify_email", now, user, None)).await?;
        tx.commit().await?;
        Ok(())
    }
}
