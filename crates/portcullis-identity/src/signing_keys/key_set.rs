//! The set of keys in use: Ed25519 or P-256 keys of the database, which stores them sealed, or HMAC keys made from
//! `JWT_SECRET`.
//!
//! A key is published before it signs and verifies after it has stopped signing. So replicas and readers of the JWKS
//! have it in time, and no valid token is refused.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use portcullis_model::secret::sha256;
use portcullis_model::{SecretBytes, SecretRing, Timestamp};
use portcullis_storage::SigningKey;
use serde_json::{Value, json};

use crate::error::StartError;
use crate::sealing::Sealer;

/// The purpose for which private keys are sealed.
const PURPOSE: &str = "signing key";

/// The algorithm of new signing keys (`session.signing_algorithm`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// Ed25519 (RFC 8037).
    #[default]
    EdDsa,
    /// ECDSA over P-256 with SHA-256 (RFC 7518 §3.4), for verifiers without Ed25519.
    Es256,
}

impl SigningAlgorithm {
    /// The name in the database, in settings and in JWT headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    fn jose(self) -> Algorithm {
        match self {
            Self::EdDsa => Algorithm::EdDSA,
            Self::Es256 => Algorithm::ES256,
        }
    }
}

impl std::str::FromStr for SigningAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::EdDsa, Self::Es256].into_iter().find(|known| known.as_str() == text).ok_or(UnknownAlgorithm)
    }
}

/// The text is not the name of a supported algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the algorithm must be EdDSA or ES256")]
pub struct UnknownAlgorithm;

pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: EncodingKey,
    from: Timestamp,
}

/// A verification key and the one algorithm that it verifies.
pub(crate) struct Verifier {
    kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// The keys in use.
pub(crate) struct KeySet {
    /// Newest first.
    signers: Vec<Signer>,
    verifiers: Vec<Verifier>,
    jwks: Value,
    /// A number that differs between any two combinations of keys, issuer and audience.
    pub(crate) trust: u64,
}

impl KeySet {
    /// The key that signs at `now`: the newest one that has started to sign.
    pub(crate) fn signer(&self, now: Timestamp) -> &Signer {
        let current = self.signers.iter().find(|signer| signer.from <= now);
        // No key has started to sign when this clock is behind the clock of the replica that made the only key.
        current.or(self.signers.last()).expect("a set of keys has one that signs")
    }

    /// The key that verifies tokens with this `kid`.
    pub(crate) fn verifier(&self, kid: &str) -> Option<&Verifier> {
        self.verifiers.iter().find(|verifier| verifier.kid == kid)
    }

    /// The public halves as a JWK set (RFC 7517).
    pub(crate) fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// The empty set, before keys are read.
    pub(crate) fn none() -> Self {
        Self { signers: Vec::new(), verifiers: Vec::new(), jwks: json!({ "keys": [] }), trust: 0 }
    }

    /// HS256 keys of the operator's secrets: the first signs, all verify. They have no public half.
    pub(crate) fn hmac(secrets: &SecretRing, trust_in: &str) -> Self {
        let kid = |bytes: &[u8]| format!("hs-{}", hex::encode(&sha256(&sha256(bytes))[..8]));
        let verifier = |bytes: &[u8]| Verifier {
            kid: kid(bytes),
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(bytes),
        };
        let verifiers: Vec<Verifier> = secrets.iter().map(|secret| verifier(secret.expose().as_bytes())).collect();
        let current = secrets.current().expose().as_bytes();
        let signer = Signer {
            kid: kid(current),
            algorithm: Algorithm::HS256,
            key: EncodingKey::from_secret(current),
            from: Timestamp::UNIX_EPOCH,
        };
        let trust = trust_number(&verifiers, trust_in);
        Self { signers: vec![signer], verifiers, jwks: json!({ "keys": [] }), trust }
    }

    /// The keys of the database that are not retired; `None` when there is none.
    pub(crate) fn from_stored(
        stored: &[SigningKey],
        sealer: &Sealer,
        trust_in: &str,
    ) -> Result<Option<Self>, StartError> {
        let (mut signers, mut verifiers, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for key in stored.iter().filter(|key| key.retired_at.is_none()) {
            // A key with the algorithm of a later version is used by replicas of that version only.
            let Ok(algorithm) = key.algorithm.parse::<SigningAlgorithm>() else { continue };
            let (signer, verifier) = open(key, algorithm, sealer)?;
            signers.push(signer);
            verifiers.push(verifier);
            keys.push(jwk(algorithm, &key.kid, &key.public_key));
        }
        if signers.is_empty() {
            return Ok(None);
        }
        let trust = trust_number(&verifiers, trust_in);
        Ok(Some(Self { signers, verifiers, jwks: json!({ "keys": keys }), trust }))
    }
}

fn open(key: &SigningKey, algorithm: SigningAlgorithm, sealer: &Sealer) -> Result<(Signer, Verifier), StartError> {
    let private: SecretBytes = sealer.open(PURPOSE, &key.sealed_private).ok_or(StartError::Sealed)?;
    let unreadable = || StartError::Key { kid: key.kid.clone() };
    let public = match algorithm {
        SigningAlgorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8(private.expose()).map_err(|_| unreadable())?;
            pair.public_key().as_ref().to_vec()
        }
        SigningAlgorithm::Es256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.expose());
            pair.map_err(|_| unreadable())?.public_key().as_ref().to_vec()
        }
    };
    if public != key.public_key {
        return Err(unreadable());
    }
    let (signing, checking) = match algorithm {
        SigningAlgorithm::EdDsa => (EncodingKey::from_ed_der(private.expose()), DecodingKey::from_ed_der(&public)),
        SigningAlgorithm::Es256 => (EncodingKey::from_ec_der(private.expose()), DecodingKey::from_ec_der(&public)),
    };
    let signer = Signer { kid: key.kid.clone(), algorithm: algorithm.jose(), key: signing, from: key.signs_from };
    Ok((signer, Verifier { kid: key.kid.clone(), algorithm: algorithm.jose(), key: checking }))
}

/// Makes a key that signs from `signs_from` on.
pub(crate) fn make(algorithm: SigningAlgorithm, sealer: &Sealer, now: Timestamp, signs_from: Timestamp) -> SigningKey {
    const RANDOM: &str = "the operating system's random source does not fail";
    let (public_key, private) = match algorithm {
        SigningAlgorithm::EdDsa => {
            let pair = Ed25519KeyPair::generate().expect(RANDOM);
            let private = pair.to_pkcs8v1().expect("a fresh key has an encoding");
            (pair.public_key().as_ref().to_vec(), private.as_ref().to_vec())
        }
        SigningAlgorithm::Es256 => {
            let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
            let private = private.expect(RANDOM);
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref());
            (pair.expect("it was just made").public_key().as_ref().to_vec(), private.as_ref().to_vec())
        }
    };
    let private = SecretBytes::new(private);
    SigningKey {
        kid: thumbprint(algorithm, &public_key),
        algorithm: algorithm.as_str().to_owned(),
        sealed_private: sealer.seal(PURPOSE, private.expose()),
        public_key,
        created_at: now,
        signs_from,
        retired_at: None,
    }
}

/// The private half sealed under the first secret; `None` when no secret opens it.
pub(crate) fn reseal(key: &SigningKey, sealer: &Sealer) -> Option<Vec<u8>> {
    sealer.open(PURPOSE, &key.sealed_private).map(|private| sealer.seal(PURPOSE, private.expose()))
}

/// The JWK thumbprint: the hash of the required members in the order of their names (RFC 7638 §3.2).
fn thumbprint(algorithm: SigningAlgorithm, public: &[u8]) -> String {
    let canonical = match algorithm {
        // RFC 8037 appendix A.3.
        SigningAlgorithm::EdDsa => {
            format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{}\"}}", URL_SAFE_NO_PAD.encode(public))
        }
        SigningAlgorithm::Es256 => {
            let (x, y) = coordinates(public);
            format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}")
        }
    };
    URL_SAFE_NO_PAD.encode(sha256(canonical.as_bytes()))
}

/// The coordinates of an uncompressed point: the byte 4, then 32 bytes each (SEC 1 §2.3.3).
fn coordinates(point: &[u8]) -> (String, String) {
    let (x, y) = point[1..].split_at(32);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}

fn jwk(algorithm: SigningAlgorithm, kid: &str, public: &[u8]) -> Value {
    match algorithm {
        SigningAlgorithm::EdDsa => json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid,
            "x": URL_SAFE_NO_PAD.encode(public),
        }),
        SigningAlgorithm::Es256 => {
            let (x, y) = coordinates(public);
            json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid, "x": x, "y": y })
        }
    }
}

fn trust_number(verifiers: &[Verifier], trust_in: &str) -> u64 {
    let kids: Vec<&str> = verifiers.iter().map(|verifier| verifier.kid.as_str()).collect();
    let digest = sha256(format!("{}\n{trust_in}", kids.join("\n")).as_bytes());
    u64::from_le_bytes(*digest.first_chunk().expect("32 bytes"))
}
