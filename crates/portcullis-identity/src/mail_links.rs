//! Links in mails. A link holds a new one-time token in its fragment, which browsers do not send to servers.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_model::{SecretString, User};
use portcullis_storage::{Store, TokenPurpose};

use crate::error::IdentityError;
use crate::one_time_token::OneTimeTokens;

/// Lifetime of a link that confirms an address.
const VERIFICATION_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Lifetime of a link that sets a new password.
const RESET_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Lifetime of a link that sets the first password.
const INVITATION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Makes links below the public URL.
#[derive(Clone)]
pub(crate) struct MailLinks {
    pub(crate) store: Store,
    pub(crate) tokens: OneTimeTokens,
    /// The public URL without a slash at its end. A reload may change it; clones share it.
    pub(crate) public_url: Arc<ArcSwap<String>>,
}

impl MailLinks {
    /// A link with a new token of this purpose. The newest earlier ones stay good.
    pub(crate) async fn mint(&self, user: &User, purpose: TokenPurpose) -> Result<SecretString, IdentityError> {
        let (page, lifetime) = match purpose {
            TokenPurpose::VerifyEmail => ("verify-email", VERIFICATION_LIFETIME),
            TokenPurpose::ResetPassword => ("reset-password", RESET_LIFETIME),
            TokenPurpose::Invitation => ("reset-password", INVITATION_LIFETIME),
            TokenPurpose::FirstAdmin => unreachable!("the first administrator's link is printed, never mailed"),
        };
        let mut tx = self.store.begin().await?;
        let token = self.tokens.mint(&mut tx, purpose, Some(user.id), lifetime).await?;
        tx.commit().await?;
        Ok(SecretString::new(format!("{}/{page}#{}", self.public_url.load(), token.expose())))
    }

    /// The address of the service itself, for mails without a link to a page.
    pub(crate) fn service_link(&self) -> SecretString {
        SecretString::new(self.public_url.load().as_str())
    }
}
