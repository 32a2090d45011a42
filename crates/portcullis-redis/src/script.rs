//! Scripts that run in Redis, sent whole only when it does not know them yet.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::LuaInterface;
use fred::types::{FromValue, Value};

/// A script of one key.
pub(crate) struct Script {
    text: &'static str,
    digest: String,
}

impl Script {
    /// SHA-1 is how Redis names scripts; nothing rests on it.
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, digest: hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes())) }
    }

    /// Runs it in one round trip, but for the first time after Redis has started or failed over.
    pub(crate) async fn run<T: FromValue>(&self, on: &Client, key: String, values: Vec<Value>) -> Result<T, Error> {
        match on.evalsha(self.digest.as_str(), key.as_str(), values.clone()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => on.eval(self.text, key, values).await,
            outcome => outcome,
        }
    }
}
