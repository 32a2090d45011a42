//! Lua scripts that run in Redis. A script's text is sent only if Redis does not know the script yet.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::LuaInterface;
use fred::types::{FromValue, Value};

/// A script that works on one key.
pub(crate) struct Script {
    text: &'static str,
    digest: String,
}

impl Script {
    /// Redis names scripts by their SHA-1. Security does not depend on it.
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, digest: hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes())) }
    }

    /// Runs the script in one round trip, or in two the first time after Redis was started or failed over.
    pub(crate) async fn run<T: FromValue>(&self, on: &Client, key: String, values: Vec<Value>) -> Result<T, Error> {
        match on.evalsha(self.digest.as_str(), key.as_str(), values.clone()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => on.eval(self.text, key, values).await,
            outcome => outcome,
        }
    }
}
