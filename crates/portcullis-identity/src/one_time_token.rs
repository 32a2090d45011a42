//! One-time tokens behind mailed and printed links (SR-12).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_model::secret::sha256;
use portcullis_model::{Clock, Random, SecretString, Timestamp, UserId};
use portcullis_storage::{NewOneTimeToken, TokenPurpose, Tx};

use crate::error::IdentityError;

/// The most unused tokens of one purpose and user: at least as many as mails that are sent while one is good.
const GOOD_AT_ONCE: u64 = 5;

/// Mints and redeems one-time tokens. The database holds their SHA-256 only.
#[derive(Clone)]
pub(crate) struct OneTimeTokens {
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

/// The result of presenting a one-time token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redeemed {
    /// The token is unknown, expired, already used or of another purpose.
    Invalid,
    /// The token was valid and belongs to no user.
    Anonymous,
    /// The token was valid and belongs to this user.
    For(UserId),
}

impl OneTimeTokens {
    /// Makes a token. Of the earlier unused tokens of the same purpose and user the newest few stay good, so that a
    /// stranger who requests links does not spoil those of the owner (SR-58). A token without a user replaces the earlier.
    pub(crate) async fn mint(
        &self,
        tx: &mut Tx,
        purpose: TokenPurpose,
        user_id: Option<UserId>,
        lifetime: Duration,
    ) -> Result<SecretString, IdentityError> {
        let now = self.clock.now();
        let token = URL_SAFE_NO_PAD.encode(self.random.bytes::<32>());
        match user_id {
            Some(user) => tx.discard_older_one_time_tokens(purpose, user, GOOD_AT_ONCE - 1).await?,
            None => tx.discard_one_time_tokens(purpose, None).await?,
        };
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
}

/// Uses up a token in this transaction. The caller commits, or the token stays valid.
pub(crate) async fn redeem(
    tx: &mut Tx,
    token: &str,
    purpose: TokenPurpose,
    now: Timestamp,
) -> Result<Redeemed, IdentityError> {
    let consumed = tx.consume_one_time_token(&sha256(token.as_bytes()), purpose, now).await?;
    Ok(match consumed.map(|token| token.user_id) {
        None => Redeemed::Invalid,
        Some(None) => Redeemed::Anonymous,
        Some(Some(user)) => Redeemed::For(user),
    })
}

/// Discards every link of this user, also the one that verifies the address: the account is taken back (SR-51), or lost.
pub(crate) async fn discard_links(tx: &mut Tx, user: UserId) -> Result<(), IdentityError> {
    discard_password_links(tx, user).await?;
    tx.discard_one_time_tokens(TokenPurpose::VerifyEmail, Some(user)).await?;
    Ok(())
}

/// Discards every link that sets this user's password.
///
/// Tokens are locked before the user's row in every transaction: a transaction that redeems a link holds the token
/// and waits for the user, so the opposite order would deadlock.
pub(crate) async fn discard_password_links(tx: &mut Tx, user: UserId) -> Result<(), IdentityError> {
    for purpose in [TokenPurpose::ResetPassword, TokenPurpose::Invitation] {
        tx.discard_one_time_tokens(purpose, Some(user)).await?;
    }
    Ok(())
}
