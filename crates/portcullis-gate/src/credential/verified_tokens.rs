//! The access tokens whose signature has been verified (SR-41).

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use portcullis_model::secret::sha256;
use portcullis_model::{AccessTokenVerifier, VerifiedToken};

use crate::credential::presented::text;

/// Verified tokens by the SHA-256 of the whole token. The cache is bounded and holds verified tokens only, so that
/// invalid ones displace nothing.
pub(crate) struct VerifiedTokens {
    cache: moka::sync::Cache<[u8; 32], Arc<VerifiedToken>, FirstBytes>,
}

/// The number of verified tokens that are remembered.
const CAPACITY: u64 = 100_000;
/// The longest access token, in bytes: a token must fit into a cookie (SR-24).
const MAX_TOKEN_BYTES: usize = 4096;

impl VerifiedTokens {
    pub(crate) fn new() -> Self {
        Self { cache: moka::sync::Cache::builder().max_capacity(CAPACITY).build_with_hasher(FirstBytes) }
    }

    /// Returns the claims of a valid token. The lifetime of a remembered token is still checked against the clock, and
    /// its trust (keys, issuer and audience) against the one in force.
    pub(crate) fn check(&self, tokens: &dyn AccessTokenVerifier, token: &[u8], now: i64) -> Option<Arc<VerifiedToken>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let digest = sha256(token);
        if let Some(known) = self.cache.get(&digest)
            && known.trust == tokens.trust()
        {
            return (known.not_before <= now && now < known.expires).then_some(known);
        }
        let verified = Arc::new(tokens.verify(text(token).ok()?, now).ok()?);
        self.cache.insert(digest, Arc::clone(&verified));
        Some(verified)
    }
}

/// A hasher for keys that are SHA-256 digests already.
#[derive(Clone, Copy, Default)]
struct FirstBytes;

impl BuildHasher for FirstBytes {
    type Hasher = FirstBytesHasher;
    fn build_hasher(&self) -> FirstBytesHasher {
        FirstBytesHasher(0)
    }
}

struct FirstBytesHasher(u64);

impl Hasher for FirstBytesHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
    fn write_usize(&mut self, _length: usize) {}
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testkit::{KnownSessions, session};
    use std::sync::Arc;

    const NOT_BEFORE: i64 = 1000;
    const EXPIRES: i64 = 2000;

    /// One issued token, `good`, valid from 1000 s to 2000 s, which has been verified once.
    fn verified() -> (VerifiedTokens, Arc<KnownSessions>) {
        let (cache, tokens) = (VerifiedTokens::new(), Arc::<KnownSessions>::default());
        tokens.issue("good", &session().build(), NOT_BEFORE..EXPIRES);
        assert!(cache.check(&*tokens, b"good", 1500).is_some());
        (cache, tokens)
    }

    #[test]
    fn sr_41_a_signature_is_verified_once() {
        let (cache, tokens) = verified();
        assert!(cache.check(&*tokens, b"good", 1999).is_some());
        assert_eq!(tokens.verifications(), 1);
    }

    #[test]
    fn sr_41_the_lifetime_of_a_remembered_token_is_checked() {
        let (cache, tokens) = verified();
        assert!(cache.check(&*tokens, b"good", EXPIRES).is_none(), "expired");
        assert!(cache.check(&*tokens, b"good", NOT_BEFORE - 1).is_none(), "not yet valid");
    }

    #[test]
    fn sr_41_a_changed_trust_verifies_the_signature_again() {
        let (cache, tokens) = verified();
        tokens.change_trust();
        assert!(cache.check(&*tokens, b"good", 1500).is_some());
        assert_eq!(tokens.verifications(), 2);
    }

    #[test]
    fn an_invalid_token_is_never_remembered() {
        let (cache, tokens) = (VerifiedTokens::new(), Arc::<KnownSessions>::default());
        for n in 0..100 {
            assert!(cache.check(&*tokens, format!("bad{n}").as_bytes(), 1500).is_none());
        }
        cache.cache.run_pending_tasks();
        assert_eq!(cache.cache.entry_count(), 0);
    }
}
