//! The keys that sign access tokens: Ed25519 in the database, sealed; or one
//! HMAC key from `JWT_SECRET`.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use portcullis_model::secret::sha256;
use portcullis_model::{Clock, SecretBytes, SecretString};
use portcullis_storage::{SigningKey, Store};
use serde_json::{Value, json};

use crate::error::StartError;
use crate::seal::Sealer;

/// What private keys are sealed for.
const PURPOSE: &str = "signing key";
/// The name of Ed25519 in the database and in JWT headers (RFC 8037).
const EDDSA: &str = "EdDSA";

/// The keys in force.
pub(crate) struct KeySet {
    pub(crate) algorithm: Algorithm,
    pub(crate) signer: EncodingKey,
    pub(crate) signer_kid: String,
    verifiers: Vec<(String, DecodingKey)>,
    jwks: Value,
    /// Differs between any two sets of keys, issuer and audience.
    pub(crate) trust: u64,
}

impl KeySet {
    /// The key that checks tokens with this `kid`.
    pub(crate) fn verifier(&self, kid: &str) -> Option<&DecodingKey> {
        self.verifiers.iter().find(|(known, _)| known == kid).map(|(_, key)| key)
    }

    /// The public halves (RFC 7517).
    pub(crate) fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// HS256 with the operator's secret. It has no public half.
    pub(crate) fn hmac(secret: &SecretString, trust_in: &str) -> Self {
        let bytes = secret.expose().as_bytes();
        let digest = sha256(bytes);
        let kid = format!("hs-{}", hex::encode(&sha256(&digest)[..8]));
        let trust = trust_number(&[&kid], trust_in);
        Self {
            algorithm: Algorithm::HS256,
            signer: EncodingKey::from_secret(bytes),
            verifiers: vec![(kid.clone(), DecodingKey::from_secret(bytes))],
            signer_kid: kid,
            jwks: json!({ "keys": [] }),
            trust,
        }
    }

    /// The Ed25519 keys of the database; the first one is made if there is none.
    pub(crate) async fn load(
        store: &Store,
        sealer: &Sealer,
        clock: &Clock,
        trust_in: &str,
    ) -> Result<Self, StartError> {
        let mut stored = active(store).await?;
        if stored.is_empty() {
            let made = make(sealer, clock);
            let mut tx = store.begin().await?;
            // Another replica may have been first: then its key is the one.
            tx.insert_first_signing_key(&made).await?;
            tx.commit().await?;
            stored = active(store).await?;
        }
        Self::from_stored(&stored, sealer, trust_in)
    }

    fn from_stored(stored: &[SigningKey], sealer: &Sealer, trust_in: &str) -> Result<Self, StartError> {
        let newest = &stored[0];
        let private: SecretBytes = sealer.open(PURPOSE, &newest.sealed_private).ok_or(StartError::Sealed)?;
        let pair =
            Ed25519KeyPair::from_pkcs8(private.expose()).map_err(|_| StartError::Key { kid: newest.kid.clone() })?;
        if pair.public_key().as_ref() != newest.public_key {
            return Err(StartError::Key { kid: newest.kid.clone() });
        }
        let keys: Vec<Value> = stored.iter().map(|key| jwk(&key.kid, &key.public_key)).collect();
        let kids: Vec<&str> = stored.iter().map(|key| key.kid.as_str()).collect();
        Ok(Self {
            algorithm: Algorithm::EdDSA,
            signer: EncodingKey::from_ed_der(private.expose()),
            signer_kid: newest.kid.clone(),
            verifiers: stored.iter().map(|key| (key.kid.clone(), DecodingKey::from_ed_der(&key.public_key))).collect(),
            jwks: json!({ "keys": keys }),
            trust: trust_number(&kids, trust_in),
        })
    }
}

async fn active(store: &Store) -> Result<Vec<SigningKey>, StartError> {
    let keys = store.signing_keys().await?;
    Ok(keys.into_iter().filter(|key| key.retired_at.is_none() && key.algorithm == EDDSA).collect())
}

fn make(sealer: &Sealer, clock: &Clock) -> SigningKey {
    let pair = Ed25519KeyPair::generate().expect("the operating system's random source does not fail");
    let public_key = pair.public_key().as_ref().to_vec();
    let private = pair.to_pkcs8v1().expect("a fresh key has an encoding");
    SigningKey {
        kid: thumbprint(&public_key),
        algorithm: EDDSA.to_owned(),
        sealed_private: sealer.seal(PURPOSE, private.as_ref()),
        public_key,
        created_at: clock.now(),
        signs_from: clock.now(),
        retired_at: None,
    }
}

/// The key's name is its thumbprint (RFC 7638, RFC 8037 appendix A.3).
fn thumbprint(public: &[u8]) -> String {
    let canonical = format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{}\"}}", URL_SAFE_NO_PAD.encode(public));
    URL_SAFE_NO_PAD.encode(sha256(canonical.as_bytes()))
}

fn jwk(kid: &str, public: &[u8]) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": EDDSA, "kid": kid, "x": URL_SAFE_NO_PAD.encode(public) })
}

fn trust_number(kids: &[&str], trust_in: &str) -> u64 {
    let digest = sha256(format!("{}\n{trust_in}", kids.join("\n")).as_bytes());
    u64::from_le_bytes(*digest.first_chunk().expect("32 bytes"))
}
