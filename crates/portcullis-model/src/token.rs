//! Access tokens as the gate sees them.

use crate::{SessionId, UserId};

/// The claims of an access token whose signature, issuer, audience and type are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The session of the token (`sid`).
    pub session_id: SessionId,
    /// The user of the token (`sub`).
    pub user_id: UserId,
    /// The user's epoch when the token was made (`ver`).
    pub ver: i64,
    /// The earliest time of use (`nbf`), in Unix seconds.
    pub not_before: i64,
    /// The expiry (`exp`), in Unix seconds.
    pub expires: i64,
    /// The [`AccessTokenVerifier::trust`] at the time of verification.
    pub trust: u64,
}

/// The reason why an access token is refused. Clients see the same error for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a JWS in compact form, or a part cannot be decoded.
    #[error("malformed")]
    Malformed,
    /// Its `typ` or `alg` is not one that we issue, or no active key has its `kid`.
    #[error("not one of our tokens")]
    Foreign,
    /// Its signature is invalid.
    #[error("bad signature")]
    Signature,
    /// Its issuer, its audience or the type of a claim is wrong.
    #[error("wrong claims")]
    Claims,
    /// The time is past `exp` or before `nbf`.
    #[error("outside its lifetime")]
    Lifetime,
}

/// Verifies access tokens. Each call checks a signature, so the gate caches the result.
pub trait AccessTokenVerifier: Send + Sync + 'static {
    /// Checks everything about a token except its session. `now` is in Unix seconds.
    fn verify(&self, token: &str, now: i64) -> Result<VerifiedToken, TokenError>;

    /// A number that changes whenever the active keys, the issuer or the audience change. A cached token with another
    /// number must be verified again.
    fn trust(&self) -> u64;
}
