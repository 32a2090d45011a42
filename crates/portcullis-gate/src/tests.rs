//! Tokens and sessions for the unit tests of this crate: lookups from memory, with the results that a test sets.

mod path_spellings;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use portcullis_model::policy::{AuthRequirement, RoutePolicy};
use portcullis_model::{
    AccessTokenVerifier, Amr, Clock, Email, Random, Role, RolePermissions, SessionId, SessionSource, SessionState,
    SessionsUnavailable, TokenError, UserId, VerifiedToken,
};

pub(crate) fn policy(auth: AuthRequirement) -> RoutePolicy {
    RoutePolicy::requiring(auth)
}

/// A session of a new user.
pub(crate) fn session() -> SessionState {
    let (clock, random) = (Clock::system(), Random::system());
    SessionState {
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
    }
}

/// Verifies the tokens that were issued, and counts the verifications.
#[derive(Default)]
pub(crate) struct FakeTokens {
    known: Mutex<HashMap<String, VerifiedToken>>,
    pub(crate) trust: AtomicU64,
    checked: AtomicU32,
}

impl FakeTokens {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// `not_before` and `expires` are in Unix seconds.
    pub(crate) fn issue(&self, token: &str, session: &SessionState, not_before: i64, expires: i64) {
        let verified = VerifiedToken {
            session_id: session.id,
            user_id: session.user_id,
            ver: session.user_epoch,
            not_before,
            expires,
            trust: 0,
        };
        self.known.lock().expect("sound").insert(token.to_owned(), verified);
    }

    pub(crate) fn verifications(&self) -> u32 {
        self.checked.load(Ordering::SeqCst)
    }
}

impl AccessTokenVerifier for FakeTokens {
    fn verify(&self, token: &str, now: i64) -> Result<VerifiedToken, TokenError> {
        self.checked.fetch_add(1, Ordering::SeqCst);
        let mut verified = self.known.lock().expect("sound").get(token).cloned().ok_or(TokenError::Signature)?;
        verified.trust = self.trust();
        if verified.not_before <= now && now < verified.expires { Ok(verified) } else { Err(TokenError::Lifetime) }
    }

    fn trust(&self) -> u64 {
        self.trust.load(Ordering::SeqCst)
    }
}

/// A session cache that holds the sessions that were put into it.
#[derive(Default)]
pub(crate) struct FakeSessions {
    live: Mutex<HashMap<SessionId, Arc<SessionState>>>,
}

impl FakeSessions {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn put(&self, session: SessionState) -> Arc<SessionState> {
        let session = Arc::new(session);
        self.live.lock().expect("sound").insert(session.id, Arc::clone(&session));
        session
    }

    pub(crate) fn remove(&self, id: SessionId) {
        self.live.lock().expect("sound").remove(&id);
    }
}

impl SessionSource for FakeSessions {
    fn cached(&self, id: SessionId) -> Option<Arc<SessionState>> {
        self.live.lock().expect("sound").get(&id).cloned()
    }

    fn load(
        &self,
        id: SessionId,
        _user_epoch: i64,
    ) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        Box::pin(async move { Ok(self.cached(id)) })
    }
}
