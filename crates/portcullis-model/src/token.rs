//! Access tokens as the gate sees them.

use crate::{SessionId, UserId};

/// The claims of an access token whose signature, issuer, audience and type were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// `sid`.
    pub session_id: SessionId,
    /// `sub`.
    pub user_id: UserId,
    /// `ver`: the user's epoch when the token was made.
    pub ver: i64,
    /// `nbf`, Unix seconds.
    pub not_before: i64,
    /// `exp`, Unix seconds.
    pub expires: i64,
    /// The `demo` claim.
    pub demo: bool,
    /// Under which trust it was verified, see [`AccessTokenVerifier::trust`].
    pub trust: u64,
}

/// Why a token is not accepted. Clients see one answer for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JWS in compact form, or its parts do not decode.
    #[error("malformed")]
    Malformed,
    /// The header's `typ` or `alg` is not one we issue, or no active key has its `kid`.
    #[error("not one of our tokens")]
    Foreign,
    /// The signature is wrong.
    #[error("bad signature")]
    Signature,
    /// Issuer, audience or a claim's type is wrong.
    #[error("wrong claims")]
    Claims,
    /// Past `exp` or before `nbf`.
    #[error("outside its lifetime")]
    Lifetime,
}

/// Verifies access tokens. Costs a signature check, so the gate remembers the answer.
pub trait AccessTokenVerifier: Send + Sync + 'static {
    /// Checks everything about a token but its session; `now` in Unix seconds.
    fn verify(&self, token: &str, now: i64) -> Result<VerifiedToken, TokenError>;

    /// A number that changes whenever the active keys, the issuer or the audience
    /// change: a remembered token whose number differs must be verified again.
    fn trust(&self) -> u64;
}
