//! Sessions, access tokens and API keys in memory, for tests of the gate and the data plane.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use portcullis_model::{
    AccessTokenVerifier, Random, SessionId, SessionSource, SessionState, SessionsUnavailable, TokenError,
    VerifiedToken, api_key,
};

use crate::SessionBuilder;

/// Verifies the tokens that were issued, and finds the sessions that were put in.
#[derive(Debug, Default)]
pub struct KnownSessions {
    tokens: Mutex<HashMap<String, VerifiedToken>>,
    sessions: Mutex<HashMap<SessionId, Arc<SessionState>>>,
    keys: Mutex<HashMap<[u8; 32], Arc<SessionState>>>,
    trust: AtomicU64,
    verifications: AtomicU64,
    look_ups: AtomicU64,
    is_cold: AtomicBool,
    is_unreachable: AtomicBool,
    is_behind: AtomicBool,
}

impl KnownSessions {
    /// Stores a session, in place of one with the same id.
    pub fn put(&self, session: SessionState) -> Arc<SessionState> {
        let session = Arc::new(session);
        self.sessions.lock().expect("not poisoned").insert(session.id, Arc::clone(&session));
        session
    }

    /// Makes `token` an access token of a session for a time in Unix seconds.
    pub fn issue(&self, token: &str, session: &SessionState, lifetime: Range<i64>) {
        let verified = VerifiedToken {
            session_id: session.id,
            user_id: session.user_id,
            ver: session.user_epoch,
            not_before: lifetime.start,
            expires: lifetime.end,
            trust: 0,
        };
        self.tokens.lock().expect("not poisoned").insert(token.to_owned(), verified);
    }

    /// Stores a session, with an access token that never expires.
    pub fn sign_in(&self, token: &str, session: SessionBuilder) -> Arc<SessionState> {
        let session = self.put(session.build());
        self.issue(token, &session, 0..i64::MAX);
        session
    }

    /// Stores an API key and returns its text.
    pub fn add_api_key(&self, key: SessionBuilder) -> String {
        let text = api_key::generate(&Random::system());
        let digest = api_key::digest(text.expose()).expect("a generated key is well-formed");
        self.keys.lock().expect("not poisoned").insert(digest, Arc::new(key.build()));
        text.expose().to_owned()
    }

    /// Replaces what is known of an API key.
    pub fn replace_api_key(&self, text: &str, key: SessionState) {
        let digest = api_key::digest(text).expect("it was generated");
        self.keys.lock().expect("not poisoned").insert(digest, Arc::new(key));
    }

    /// Ends a session.
    pub fn end(&self, id: SessionId) {
        self.sessions.lock().expect("not poisoned").remove(&id);
    }

    /// The number of signatures that were verified.
    pub fn verifications(&self) -> u64 {
        self.verifications.load(Ordering::SeqCst)
    }

    /// The number of look-ups in the session cache.
    pub fn look_ups(&self) -> u64 {
        self.look_ups.load(Ordering::SeqCst)
    }

    /// Makes every token one to be verified again, as new signing keys do.
    pub fn change_trust(&self) {
        self.trust.fetch_add(1, Ordering::SeqCst);
    }

    /// Sets whether the session cache is empty, so that sessions and API keys must be loaded.
    pub fn set_cold(&self, is_cold: bool) {
        self.is_cold.store(is_cold, Ordering::SeqCst);
    }

    /// Sets whether loading a session or an API key fails.
    pub fn set_unreachable(&self, is_unreachable: bool) {
        self.is_unreachable.store(is_unreachable, Ordering::SeqCst);
    }

    /// Sets whether the latest revocations are unknown.
    pub fn set_behind(&self, is_behind: bool) {
        self.is_behind.store(is_behind, Ordering::SeqCst);
    }

    fn find_key(&self, digest: &[u8; 32]) -> Option<Arc<SessionState>> {
        self.keys.lock().expect("not poisoned").get(digest).cloned()
    }

    fn find(&self, id: SessionId) -> Option<Arc<SessionState>> {
        self.sessions.lock().expect("not poisoned").get(&id).cloned()
    }
}

impl AccessTokenVerifier for KnownSessions {
    fn verify(&self, token: &str, now: i64) -> Result<VerifiedToken, TokenError> {
        self.verifications.fetch_add(1, Ordering::SeqCst);
        let known = self.tokens.lock().expect("not poisoned").get(token).cloned().ok_or(TokenError::Signature)?;
        if (known.not_before..known.expires).contains(&now) {
            Ok(VerifiedToken { trust: self.trust(), ..known })
        } else {
            Err(TokenError::Lifetime)
        }
    }

    fn trust(&self) -> u64 {
        self.trust.load(Ordering::SeqCst)
    }
}

impl SessionSource for KnownSessions {
    fn is_current(&self) -> bool {
        !self.is_behind.load(Ordering::SeqCst)
    }

    fn cached_key(&self, digest: &[u8; 32]) -> Option<Arc<SessionState>> {
        if self.is_cold.load(Ordering::SeqCst) { None } else { self.find_key(digest) }
    }

    fn cached(&self, id: SessionId) -> Option<Arc<SessionState>> {
        self.look_ups.fetch_add(1, Ordering::SeqCst);
        if self.is_cold.load(Ordering::SeqCst) { None } else { self.find(id) }
    }

    fn load(
        &self,
        id: SessionId,
        _user_epoch: i64,
    ) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.is_unreachable.load(Ordering::SeqCst) { Err(SessionsUnavailable) } else { Ok(self.find(id)) }
        })
    }

    fn load_key(&self, digest: [u8; 32]) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.is_unreachable.load(Ordering::SeqCst) {
                Err(SessionsUnavailable)
            } else {
                Ok(self.find_key(&digest))
            }
        })
    }
}
