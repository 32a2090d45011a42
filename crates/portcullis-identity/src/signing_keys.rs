//! The keys that sign access tokens: Ed25519 or P-256 in the database, sealed; or HMAC keys from `JWT_SECRET`.
//!
//! A key is known before it signs, and good after it has stopped: replicas and readers of the JWKS have it in time,
//! and no token that is still good is refused.

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
use crate::seal::Sealer;

/// What private keys are sealed for.
const PURPOSE: &str = "signing key";

/// What new keys sign with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// Ed25519 (RFC 8037).
    #[default]
    EdDsa,
    /// ECDSA over P-256 with SHA-256 (RFC 7518 §3.4), for readers that have nothing newer.
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

/// The text names no algorithm that keys are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an algorithm is EdDSA or ES256")]
pub struct UnknownAlgorithm;

/// A key that signs.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: EncodingKey,
    from: Timestamp,
}

/// A key that checks, and the one algorithm that it checks.
pub(crate) struct Verifier {
    kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// The keys in force.
pub(crate) struct KeySet {
    /// Youngest first.
    signers: Vec<Signer>,
    verifiers: Vec<Verifier>,
    jwks: Value,
    /// Differs between any two sets of keys, issuer and audience.
    pub(crate) trust: u64,
}

impl KeySet {
    /// The key that signs at `now`: the youngest whose time has come.
    pub(crate) fn signer(&self, now: Timestamp) -> &Signer {
        let current = self.signers.iter().find(|signer| signer.from <= now);
        // Should a clock be behind the one that made the only key.
        current.or(self.signers.last()).expect("a set of keys has one that signs")
    }

    /// The key that checks tokens with this `kid`.
    pub(crate) fn verifier(&self, kid: &str) -> Option<&Verifier> {
        self.verifiers.iter().find(|verifier| verifier.kid == kid)
    }

    /// The public halves (RFC 7517).
    pub(crate) fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// No keys, before the first are read.
    pub(crate) fn none() -> Self {
        Self { signers: Vec::new(), verifiers: Vec::new(), jwks: json!({ "keys": [] }), trust: 0 }
    }

    /// HS256 with the operator's secrets: the first signs, all check. They have no public half.
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
            // A key of a later version's algorithm is that version's to use.
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

/// A new key, which signs from its time on.
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

/// The key's private half sealed under the first of today's secrets; `None` when none of them opens it.
pub(crate) fn reseal(key: &SigningKey, sealer: &Sealer) -> Option<Vec<u8>> {
    sealer.open(PURPOSE, &key.sealed_private).map(|private| sealer.seal(PURPOSE, private.expose()))
}

/// The members that a key's thumbprint is taken of, in the order of their names (RFC 7638 §3.2).
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

/// Both halves of an uncompressed point (SEC 1 §2.3.3): a byte 4, then 32 bytes each.
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
