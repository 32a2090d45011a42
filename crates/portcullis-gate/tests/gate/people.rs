//! Tokens and sessions: the gate's two questions, answered from memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use portcullis_model::{
    AccessTokenVerifier, ApiKeyScopes, Clock, Email, Random, Role, RolePermissions, SessionId, SessionSource,
    SessionState, SessionsUnavailable, TokenError, UserId, VerifiedToken, api_key,
};

use crate::bed::Bed;

/// A session of a new person.
pub(crate) fn session(role: Role) -> SessionState {
    let (clock, random) = (Clock::system(), Random::system());
    SessionState {
        id: SessionId::new(&clock, &random),
        user_id: UserId::new(&clock, &random),
        role,
        permissions: Arc::clone(RolePermissions::default().of(role)),
        email: Email::parse("ada@example.com").expect("valid"),
        email_verified: true,
        amr: Arc::from(["pwd".to_owned()]),
        authenticated_at: 0,
        session_epoch: 1,
        user_epoch: 1,
        token_epoch: 1,
        expires_at: i64::MAX,
        demo: false,
        api_key: None,
        last_seen: 0.into(),
    }
}

impl Bed {
    /// Somebody signed in: a live session and a good token for it.
    pub(crate) fn sign_in(&self, token: &str, role: Role) -> Arc<SessionState> {
        let session = self.sessions.put(session(role));
        self.tokens.issue(token, &session, self.clock.unix_seconds() + 3600);
        session
    }
}

impl Bed {
    /// An API key of a new person.
    pub(crate) fn api_key(&self, reach: ApiKeyScopes) -> String {
        let key = api_key::generate(&Random::system());
        let mut state = session(Role::Admin);
        state.api_key = Some(reach);
        let digest = api_key::digest(key.expose()).expect("a key");
        self.sessions.keys.lock().expect("sound").insert(digest, Arc::new(state));
        key.expose().to_owned()
    }
}

#[derive(Default)]
pub(crate) struct Tokens {
    known: Mutex<HashMap<String, VerifiedToken>>,
    pub(crate) verified: AtomicU64,
}

impl Tokens {
    pub(crate) fn issue(&self, token: &str, session: &SessionState, expires: i64) {
        let (session_id, user_id, ver) = (session.id, session.user_id, session.user_epoch);
        let claims = VerifiedToken { session_id, user_id, ver, not_before: 0, expires, demo: session.demo, trust: 0 };
        self.known.lock().expect("sound").insert(token.to_owned(), claims);
    }
}

impl AccessTokenVerifier for Tokens {
    fn verify(&self, token: &str, now: i64) -> Result<VerifiedToken, TokenError> {
        self.verified.fetch_add(1, Ordering::SeqCst);
        let claims = self.known.lock().expect("sound").get(token).cloned().ok_or(TokenError::Signature)?;
        if now < claims.expires { Ok(claims) } else { Err(TokenError::Lifetime) }
    }

    fn trust(&self) -> u64 {
        0
    }
}

#[derive(Default)]
pub(crate) struct Sessions {
    live: Mutex<HashMap<SessionId, Arc<SessionState>>>,
    /// Sessions are found only by asking where they are kept.
    pub(crate) cold: AtomicBool,
    /// Where they are kept cannot be reached.
    pub(crate) unreachable: AtomicBool,
    /// What was revoked since may not be known.
    pub(crate) behind: AtomicBool,
    keys: Mutex<HashMap<[u8; 32], Arc<SessionState>>>,
}

impl Sessions {
    pub(crate) fn put(&self, session: SessionState) -> Arc<SessionState> {
        let session = Arc::new(session);
        self.live.lock().expect("sound").insert(session.id, Arc::clone(&session));
        session
    }

    pub(crate) fn end(&self, id: SessionId) {
        self.live.lock().expect("sound").remove(&id);
    }

    fn live(&self, id: SessionId) -> Option<Arc<SessionState>> {
        self.live.lock().expect("sound").get(&id).cloned()
    }
}

impl SessionSource for Sessions {
    fn is_current(&self) -> bool {
        !self.behind.load(Ordering::SeqCst)
    }

    fn cached_key(&self, digest: &[u8; 32]) -> Option<Arc<SessionState>> {
        self.keys.lock().expect("sound").get(digest).cloned()
    }

    fn cached(&self, id: SessionId) -> Option<Arc<SessionState>> {
        if self.cold.load(Ordering::SeqCst) { None } else { self.live(id) }
    }

    fn load(
        &self,
        id: SessionId,
        _user_epoch: i64,
    ) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.unreachable.load(Ordering::SeqCst) { Err(SessionsUnavailable) } else { Ok(self.live(id)) }
        })
    }
}
