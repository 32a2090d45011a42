//! Access tokens: JWTs of type `at+jwt` (RFC 9068), signed with one algorithm at a time (SR-30, SR-31).

use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::{Header, Validation};
use portcullis_model::{
    AccessTokenVerifier, Amr, SecretString, SessionId, Timestamp, TokenError, UserId, VerifiedToken,
};
use serde::{Deserialize, Serialize};

use crate::signing_keys::key_set::KeySet;

/// The `typ` of access tokens (RFC 9068 §2.1).
const TYPE: &str = "at+jwt";

/// The claims of an access token (`docs/contract.md`, "Tokens and sessions").
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: UserId,
    pub(crate) sid: SessionId,
    pub(crate) jti: String,
    pub(crate) iat: i64,
    pub(crate) nbf: i64,
    pub(crate) exp: i64,
    pub(crate) ver: i64,
    pub(crate) amr: Vec<Amr>,
    pub(crate) role: String,
    #[serde(rename = "userId")]
    pub(crate) user_id: UserId,
    pub(crate) email: String,
}

/// Signs and verifies access tokens with the keys in use.
pub(crate) struct TokenKeys {
    keys: ArcSwap<KeySet>,
    issuer: String,
    audience: String,
    /// Whether tokens of the demo account are accepted.
    accepts_demo: bool,
}

impl TokenKeys {
    /// Starts without keys: every token is refused, and nothing may be signed until [`replace`](Self::replace).
    pub(crate) fn new(issuer: String, audience: String, accepts_demo: bool) -> Arc<Self> {
        Arc::new(Self { keys: ArcSwap::from_pointee(KeySet::none()), issuer, audience, accepts_demo })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    /// Replaces the keys.
    pub(crate) fn replace(&self, keys: KeySet) {
        self.keys.store(Arc::new(keys));
    }

    /// Text that differs whenever tokens must be verified again because the issuer or the audience changed.
    pub(crate) fn trust_scope(&self) -> String {
        format!("{}\n{}", self.issuer, self.audience)
    }

    pub(crate) fn sign(&self, claims: &Claims, now: Timestamp) -> SecretString {
        let keys = self.keys.load();
        let signer = keys.signer(now);
        let mut header = Header::new(signer.algorithm);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(signer.kid.clone());
        SecretString::new(jsonwebtoken::encode(&header, claims, &signer.key).expect("the key and the claims are ours"))
    }

    pub(crate) fn jwks(&self) -> serde_json::Value {
        self.keys.load().jwks().clone()
    }
}

impl AccessTokenVerifier for TokenKeys {
    fn verify(&self, token: &str, now: i64) -> Result<VerifiedToken, TokenError> {
        let keys = self.keys.load();
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        // The key determines the algorithm, and the header must agree. The headers `jku`, `x5u` and `jwk` are ignored:
        // only a key of ours, found by `kid`, verifies.
        let verifier = header.kid.as_deref().and_then(|kid| keys.verifier(kid)).ok_or(TokenError::Foreign)?;
        if header.alg != verifier.algorithm || header.typ.as_deref() != Some(TYPE) {
            return Err(TokenError::Foreign);
        }
        let mut validation = Validation::new(verifier.algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // Checked below against the clock of this process, without leeway.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &verifier.key, &validation)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::Signature,
                _ => TokenError::Claims,
            })?
            .claims;
        if claims.sub.is_demo() && !self.accepts_demo {
            return Err(TokenError::Foreign);
        }
        if claims.sub != claims.user_id {
            return Err(TokenError::Claims);
        }
        if now < claims.nbf || now >= claims.exp {
            return Err(TokenError::Lifetime);
        }
        Ok(VerifiedToken {
            session_id: claims.sid,
            user_id: claims.sub,
            ver: claims.ver,
            not_before: claims.nbf,
            expires: claims.exp,
            trust: keys.trust,
        })
    }

    fn trust(&self) -> u64 {
        self.keys.load().trust
    }
}
