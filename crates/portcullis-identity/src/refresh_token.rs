//! Refresh tokens: opaque to clients, 256 random bits, stored as their SHA-256 only.
//!
//! A token names its session and carries an authentication tag of ours. So a token that was rotated away long ago is
//! still recognised as ours and its reuse ends the session, while a forged token ends nothing (RFC 9700 §4.14).

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_model::secret::{constant_time_eq, sha256};
use portcullis_model::{Random, SecretString, SessionId};
use uuid::Uuid;

const SESSION: usize = 16;
const RANDOM: usize = 32;
const TAG: usize = 16;

/// A refresh token that a client presented, decoded.
#[derive(Debug)]
pub(crate) struct PresentedToken {
    pub(crate) session: SessionId,
    pub(crate) hash: [u8; 32],
    /// Whether its tag shows that we made it for this session.
    pub(crate) ours: bool,
}

/// Makes and reads refresh tokens.
pub(crate) struct RefreshTokens {
    /// The first key makes tags; all keys verify them.
    keys: ArcSwap<Vec<hmac::Key>>,
    random: Random,
}

impl RefreshTokens {
    pub(crate) fn new(keys: Vec<hmac::Key>, random: Random) -> Self {
        Self { keys: ArcSwap::from_pointee(keys), random }
    }

    pub(crate) fn replace_keys(&self, keys: Vec<hmac::Key>) {
        self.keys.store(Arc::new(keys));
    }

    /// A new token for a session, and its SHA-256.
    pub(crate) fn make(&self, session: SessionId) -> (SecretString, [u8; 32]) {
        let mut bytes = Vec::with_capacity(SESSION + RANDOM + TAG);
        bytes.extend_from_slice(session.0.as_bytes());
        bytes.extend_from_slice(&self.random.bytes::<RANDOM>());
        let tag = hmac::sign(&self.keys.load()[0], &bytes);
        bytes.extend_from_slice(&tag.as_ref()[..TAG]);
        let token = URL_SAFE_NO_PAD.encode(&bytes);
        let hash = sha256(token.as_bytes());
        (SecretString::new(token), hash)
    }

    /// Decodes a presented token; `None` when it does not have the shape of one.
    pub(crate) fn read(&self, token: &str) -> Option<PresentedToken> {
        if token.len() > 200 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() == SESSION + RANDOM + TAG)?;
        let (signed, tag) = bytes.split_at(SESSION + RANDOM);
        let ours = self.keys.load().iter().any(|key| constant_time_eq(&hmac::sign(key, signed).as_ref()[..TAG], tag));
        let session = SessionId(Uuid::from_slice(&bytes[..SESSION]).ok()?);
        Some(PresentedToken { session, hash: sha256(token.as_bytes()), ours })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::Clock;

    #[test]
    fn sr_20_a_token_has_256_random_bits_and_is_recognised_as_ours() {
        let key = |text: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, text);
        let tokens = RefreshTokens::new(vec![key(b"one")], Random::system());
        let session = SessionId::new(&Clock::system(), &Random::system());
        let (token, hash) = tokens.make(session);
        let read = tokens.read(token.expose()).expect("well formed");
        assert_eq!((read.session, read.hash, read.ours), (session, hash, true));
        assert_ne!(tokens.make(session).1, hash);
        let others = RefreshTokens::new(vec![key(b"two")], Random::system());
        assert!(!others.read(token.expose()).expect("well formed").ours);
        for bad in ["", "x", "aaaa.bbbb.cccc", &"A".repeat(1_000_000), &token.expose()[1..]] {
            assert!(tokens.read(bad).is_none(), "{bad:.20}");
        }
    }
}
