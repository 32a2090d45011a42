//! The API keys that were looked up and not found a moment ago.

use moka::sync::Cache;
use portcullis_model::Clock;

/// How long (in microseconds) a key that was not found is not looked up again. A key that is made in the meantime works
/// after this time at the latest. Nobody can present a key before it is made, except by guessing it.
const REMEMBERED: i64 = 1_000_000;
/// The most keys that are remembered. They displace no key that exists.
const CAPACITY: u64 = 10_000;

/// SHA-256 digests of unknown keys, each with the time (Unix microseconds) of its look-up.
pub(crate) struct UnknownKeys(Cache<[u8; 32], i64>);

impl Default for UnknownKeys {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl UnknownKeys {
    /// Remembers that no such key exists now.
    pub(crate) fn remember(&self, digest: [u8; 32], clock: &Clock) {
        self.0.insert(digest, clock.unix_micros());
    }

    /// Whether no such key existed a moment ago.
    pub(crate) fn contains(&self, digest: &[u8; 32], clock: &Clock) -> bool {
        let age = self.0.get(digest).map(|at| clock.unix_micros() - at);
        age.is_some_and(|age| (0..REMEMBERED).contains(&age))
    }
}
