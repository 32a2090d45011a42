//! Sessions and tokens of the tests, and the gate's lookups of both, answered from memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use portcullis_model::{
    AccessTokenVerifier, Amr, ApiKeyScopes, Clock, Email, Random, Role, RolePermissions, SessionId, SessionSource,
    SessionState, SessionsUnavailable, TokenError, UserId, VerifiedToken, api_key,
};

use crate::test_gate::TestGate;

/// Builds a session: by default a new user's, with the role DEVELOPER and a confirmed e-mail address.
pub(crate) struct SessionBuilder(SessionState);

pub(crate) fn session() -> SessionBuilder {
    let (clock, random) = (Clock::system(), Random::system());
    SessionBuilder(SessionState {
        id: SessionId::new(&clock, &random),
        user_id: UserId::new(&clock, &random),
        role: Role::Developer,
        permissions: Arc::clone(RolePermissions::default().of(Role::Developer)),
        email: Email::parse("ada@example.com").expect("valid"),
        email_verified: true,
        amr: Arc::from([Amr::Password]),
        authenticated_at: 0,
        session_epoch: 1,
        user_epoch: 1,
        token_epoch: 1,
        expires_at: i64::MAX,
        api_key: None,
        last_seen: 0.into(),
    })
}

impl SessionBuilder {
    pub(crate) fn role(mut self, role: Role) -> Self {
        (self.0.role, self.0.permissions) = (role, Arc::clone(RolePermissions::default().of(role)));
        self
    }

    pub(crate) fn id(mut self, id: SessionId) -> Self {
        self.0.id = id;
        self
    }

    pub(crate) fn user(mut self, user: UserId) -> Self {
        self.0.user_id = user;
        self
    }

    pub(crate) fn user_epoch(mut self, epoch: i64) -> Self {
        self.0.user_epoch = epoch;
        self
    }

    pub(crate) fn unconfirmed_email(mut self) -> Self {
        self.0.email_verified = false;
        self
    }

    /// In Unix seconds.
    pub(crate) fn authenticated_at(mut self, at: i64) -> Self {
        self.0.authenticated_at = at;
        self
    }

    pub(crate) fn build(self) -> SessionState {
        self.0
    }
}

impl TestGate {
    /// Signs a new user in: `token` is a valid access token of the returned session for an hour.
    pub(crate) fn sign_in(&self, token: &str, role: Role) -> Arc<SessionState> {
        self.sign_in_as(token, session().role(role))
    }

    /// Makes `token` a valid access token of a session for an hour.
    pub(crate) fn sign_in_as(&self, token: &str, session: SessionBuilder) -> Arc<SessionState> {
        let session = self.sessions.put(session.build());
        self.tokens.issue(token, &session, self.clock.unix_seconds() + 3600);
        session
    }

    /// Returns an API key of a new administrator.
    pub(crate) fn api_key(&self, reach: ApiKeyScopes) -> String {
        self.api_key_of(session().role(Role::Admin), reach)
    }

    /// Returns an API key of the user of a session.
    pub(crate) fn api_key_of(&self, owner: SessionBuilder, reach: ApiKeyScopes) -> String {
        let key = api_key::generate(&Random::system());
        let mut state = owner.build();
        state.api_key = Some(reach);
        let digest = api_key::digest(key.expose()).expect("a key");
        self.sessions.keys.lock().expect("sound").insert(digest, Arc::new(state));
        key.expose().to_owned()
    }
}

#[derive(Default)]
pub(crate) struct Tokens {
    known: Mutex<HashMap<String, VerifiedToken>>,
    /// The number of signatures that were verified.
    pub(crate) verified: AtomicU64,
}

impl Tokens {
    /// Issues a token that expires at a time in Unix seconds.
    pub(crate) fn issue(&self, token: &str, session: &SessionState, expires: i64) {
        let (session_id, user_id, ver) = (session.id, session.user_id, session.user_epoch);
        let claims = VerifiedToken { session_id, user_id, ver, not_before: 0, expires, trust: 0 };
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
    /// Whether the session cache is empty, so that sessions must be loaded.
    pub(crate) cold: AtomicBool,
    /// Whether loading a session fails.
    pub(crate) unreachable: AtomicBool,
    /// Whether the latest revocations are unknown.
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
