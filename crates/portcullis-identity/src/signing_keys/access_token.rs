//! Access tokens: JWTs of type `at+jwt` (RFC 9068), signed with one algorithm at a time (SR-30, SR-31).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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
    /// How far in the future `nbf` and `iat` may lie, in seconds: replicas have clocks of their own.
    clock_leeway: AtomicU64,
}

impl TokenKeys {
    /// Starts without keys: every token is refused, and nothing may be signed until [`replace`](Self::replace).
    pub(crate) fn new(issuer: String, audience: String, accepts_demo: bool) -> Arc<Self> {
        let keys = ArcSwap::from_pointee(KeySet::none());
        Arc::new(Self { keys, issuer, audience, accepts_demo, clock_leeway: AtomicU64::new(0) })
    }

    /// Sets how far in the future `nbf` and `iat` may lie.
    pub(crate) fn set_clock_leeway(&self, leeway: Duration) {
        self.clock_leeway.store(leeway.as_secs(), Ordering::Relaxed);
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

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
        let leeway = self.clock_leeway.load(Ordering::Relaxed);
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if has_critical_fields(token) {
            return Err(TokenError::Foreign);
        }
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
        // Checked below, against the time that the caller gives.
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
        let not_before = claims.nbf.max(claims.iat).saturating_sub_unsigned(leeway);
        if now < not_before || now >= claims.exp {
            return Err(TokenError::Lifetime);
        }
        Ok(VerifiedToken {
            session_id: claims.sid,
            user_id: claims.sub,
            ver: claims.ver,
            not_before,
            expires: claims.exp,
            trust: keys.trust ^ leeway,
        })
    }

    /// The leeway is part of it, because it is part of a verified token's `not_before`.
    fn trust(&self) -> u64 {
        self.keys.load().trust ^ self.clock_leeway.load(Ordering::Relaxed)
    }
}

/// Whether the header has a `crit`, whatever its value is. We know no critical field, so such a token is invalid (RFC 7515
/// §4.1.11).
fn has_critical_fields(token: &str) -> bool {
    let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let header = header.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    header.is_none_or(|header| header.get("crit").is_some())
}
