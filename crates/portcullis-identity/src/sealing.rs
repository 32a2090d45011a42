//! Sealing stored secrets: AES-256-GCM under keys derived by HKDF-SHA256 (RFC 5869), one key for each purpose.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use portcullis_model::{Random, SecretBytes, SecretRing};

/// Seals with the first secret and opens with any of them.
#[derive(Clone)]
pub(crate) struct Sealer {
    secrets: SecretRing,
    random: Random,
}

impl Sealer {
    pub(crate) fn new(secrets: SecretRing, random: Random) -> Self {
        Self { secrets, random }
    }

    /// Returns nonce, ciphertext and tag.
    pub(crate) fn seal(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        seal_under(&derive(self.secrets.current().expose().as_bytes(), purpose), plain, &self.random)
    }

    /// Opens what was sealed for the same purpose; `None` when no secret opens it.
    pub(crate) fn open(&self, purpose: &str, sealed: &[u8]) -> Option<SecretBytes> {
        self.secrets.iter().find_map(|secret| open_under(&derive(secret.expose().as_bytes(), purpose), sealed))
    }

    /// Keys for message authentication codes, one of each secret, newest first.
    pub(crate) fn mac_keys(&self, purpose: &str) -> Vec<hmac::Key> {
        self.secrets
            .iter()
            .map(|secret| {
                let info = [purpose.as_bytes()];
                let extracted = Salt::new(HKDF_SHA256, b"portcullis").extract(secret.expose().as_bytes());
                let okm = extracted.expand(&info, hmac::HMAC_SHA256).expect("one block is always available");
                hmac::Key::from(okm)
            })
            .collect()
    }
}

/// Seals under a key derived from `secret` alone, so that only a holder of it can open.
pub(crate) fn seal_with(secret: &[u8], purpose: &str, plain: &[u8], random: &Random) -> Vec<u8> {
    seal_under(&derive(secret, purpose), plain, random)
}

/// Opens what [`seal_with`] sealed.
pub(crate) fn open_with(secret: &[u8], purpose: &str, sealed: &[u8]) -> Option<SecretBytes> {
    open_under(&derive(secret, purpose), sealed)
}

fn derive(secret: &[u8], purpose: &str) -> LessSafeKey {
    let info = [purpose.as_bytes()];
    let extracted = Salt::new(HKDF_SHA256, b"portcullis").extract(secret);
    let okm = extracted.expand(&info, &AES_256_GCM).expect("one block is always available");
    LessSafeKey::new(UnboundKey::from(okm))
}

fn seal_under(key: &LessSafeKey, plain: &[u8], random: &Random) -> Vec<u8> {
    let nonce: [u8; NONCE_LEN] = random.bytes();
    let mut sealed = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
        .expect("a secret is far shorter than AES-GCM's limit");
    [&nonce[..], &sealed].concat()
}

fn open_under(key: &LessSafeKey, sealed: &[u8]) -> Option<SecretBytes> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut buffer = ciphertext.to_vec();
    let plain = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut buffer).ok()?;
    Some(SecretBytes::new(&*plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(secrets: &[&str]) -> Sealer {
        let secrets = secrets.iter().map(|&secret| portcullis_model::SecretString::new(secret)).collect();
        Sealer::new(SecretRing::new(secrets).expect("at least one"), Random::system())
    }

    #[test]
    fn a_seal_opens_for_its_purpose_and_key_only() {
        let old = sealer(&["an old key of at least 32 bytes....."]);
        let sealed = old.seal("keys", b"secret");
        assert_eq!(old.open("keys", &sealed).expect("opens").expose(), b"secret");
        assert!(old.open("other", &sealed).is_none());
        assert!(sealer(&["a different key of at least 32 bytes"]).open("keys", &sealed).is_none());
        let rotated = sealer(&["a new key of at least 32 bytes......", "an old key of at least 32 bytes....."]);
        assert_eq!(rotated.open("keys", &sealed).expect("opens").expose(), b"secret");
        let mut broken = sealed;
        *broken.last_mut().expect("not empty") ^= 1;
        assert!(old.open("keys", &broken).is_none());
        assert!(old.open("keys", b"short").is_none());
    }
}
