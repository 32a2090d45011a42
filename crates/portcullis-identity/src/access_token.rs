//! Access tokens: JWTs of their own type (RFC 9068), signed with one algorithm
//! at a time (requirements 30 and 31).

use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::{Header, Validation};
use portcullis_model::{AccessTokenVerifier, SecretString, SessionId, Timestamp, TokenError, UserId, VerifiedToken};
use serde::{Deserialize, Serialize};

use crate::signing_keys::KeySet;

/// The `typ` of access tokens (RFC 9068 §2.1).
const TYPE: &str = "at+jwt";

/// The claims (contract §3).
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
    pub(crate) amr: Vec<String>,
    pub(crate) role: String,
    #[serde(rename = "userId")]
    pub(crate) user_id: UserId,
    pub(crate) email: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) demo: bool,
}

/// Signs and verifies with the keys in force.
pub(crate) struct TokenKeys {
    keys: ArcSwap<KeySet>,
    issuer: String,
    audience: String,
    /// Whether tokens of the demo account are accepted.
    demo: bool,
}

impl TokenKeys {
    /// Without keys yet: nothing is good, and nothing may be signed.
    pub(crate) fn new(issuer: String, audience: String, demo: bool) -> Arc<Self> {
        Arc::new(Self { keys: ArcSwap::from_pointee(KeySet::none()), issuer, audience, demo })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    /// Puts other keys in force.
    pub(crate) fn replace(&self, keys: KeySet) {
        self.keys.store(Arc::new(keys));
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
        // The algorithm is the key's own; the header only has to agree.
        // `jku`, `x5u` and `jwk` are never looked at: the key is ours by `kid`.
        let verifier = header.kid.as_deref().and_then(|kid| keys.verifier(kid)).ok_or(TokenError::Foreign)?;
        if header.alg != verifier.algorithm || header.typ.as_deref() != Some(TYPE) {
            return Err(TokenError::Foreign);
        }
        let mut validation = Validation::new(verifier.algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // The clock is a parameter, and there is no leeway: issuer and verifier share it.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &verifier.key, &validation)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::Signature,
                _ => TokenError::Claims,
            })?
            .claims;
        if claims.demo && !self.demo {
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
            demo: claims.demo,
            trust: keys.trust,
        })
    }

    fn trust(&self) -> u64 {
        self.keys.load().trust
    }
}
