//! Which credential a request carries, and whose it is (requirements 30, 31, 41).

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use portcullis_model::secret::sha256;
use portcullis_model::{AccessTokenVerifier, SessionSource, SessionState, VerifiedToken};

use crate::cookies::{Carried, Cookies};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Somebody whose credential was good when the request was classified.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The session, with the role and permissions in force.
    pub session: Arc<SessionState>,
    /// How the credential came.
    pub via: Via,
}

/// How a credential came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// `Authorization: Bearer`.
    Bearer,
    /// The session cookie.
    Cookie,
    /// An API key, in `X-API-Key` or as a bearer token.
    ApiKey,
}

/// What classification found. It refuses nothing by itself.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    None,
    /// Two kinds on one request.
    Two,
    Bad,
    /// Could be good, but nobody can tell right now.
    Unknown,
    Good(Principal),
}

/// The credentials of a request as they stand in its head.
#[derive(Debug)]
pub(crate) struct Presented<'a> {
    /// As bytes: one that is remembered need not be looked through for whether it is text.
    bearer: Option<Result<&'a [u8], ()>>,
    api_key: Option<Result<&'a str, ()>>,
    cookie: &'a Carried,
}

impl<'a> Presented<'a> {
    pub(crate) fn read(headers: &'a HeaderMap, cookies: &'a Cookies) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let bearer = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => bearer_token(value.as_bytes()).map(Ok),
            (Some(_), Some(_)) => Some(Err(())),
        };
        // `pk_` keys are the other spelling of X-API-Key.
        let key_as_bearer = bearer.filter(|bearer| bearer.is_ok_and(is_api_key)).map(|key| key.and_then(text));
        let mut values = headers.get_all(API_KEY).iter();
        let key = match (values.next(), values.next()) {
            (None, _) => key_as_bearer,
            (Some(value), None) if key_as_bearer.is_none() => Some(text(value.as_bytes())),
            _ => Some(Err(())),
        };
        Self { bearer: bearer.filter(|_| key_as_bearer.is_none()), api_key: key, cookie: &cookies.session }
    }

    fn kinds(&self) -> usize {
        usize::from(self.bearer.is_some())
            + usize::from(self.api_key.is_some())
            + usize::from(*self.cookie != Carried::No)
    }

    /// Whether the only kind is a bearer token.
    pub(crate) fn is_bearer_only(&self) -> bool {
        self.bearer.is_some() && self.kinds() == 1
    }
}

/// The token after `Bearer`, whose case does not matter (RFC 9110 §11.1). Other schemes are not ours.
fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("bearer".len())?;
    let token = token.strip_prefix(b" ")?;
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

fn text(value: &[u8]) -> Result<&str, ()> {
    std::str::from_utf8(value).map_err(|_| ())
}

/// Whether a bearer token is an API key: no access token begins like one.
fn is_api_key(token: &[u8]) -> bool {
    token.starts_with(portcullis_model::api_key::PREFIX.as_bytes())
}

/// Classifies what a request presents.
pub(crate) struct Classifier {
    tokens: Arc<dyn AccessTokenVerifier>,
    sessions: Arc<dyn SessionSource>,
    verified: VerifiedTokens,
}

impl Classifier {
    pub(crate) fn new(tokens: Arc<dyn AccessTokenVerifier>, sessions: Arc<dyn SessionSource>) -> Self {
        Self { tokens, sessions, verified: VerifiedTokens::new() }
    }

    /// The credential, and the session of the cookie if that is good: CSRF binds
    /// to it even when there is a second credential. `touch` notes a use of the session.
    pub(crate) async fn classify(
        &self,
        presented: &Presented<'_>,
        now: i64,
        touch: bool,
    ) -> (Credential, Option<Arc<SessionState>>) {
        let kinds = presented.kinds();
        if kinds == 0 {
            return (Credential::None, None);
        }
        let cookie = match presented.cookie.value() {
            Some(token) => self.session_of(token.as_bytes(), now).await,
            None => Found::Bad,
        };
        let cookie_session = match &cookie {
            Found::Session(session) => Some(Arc::clone(session)),
            Found::Bad | Found::Unknown => None,
        };
        if kinds > 1 {
            return (Credential::Two, cookie_session);
        }
        let (found, via) = match (presented.bearer, presented.api_key) {
            (Some(Ok(token)), _) => (self.session_of(token, now).await, Via::Bearer),
            (Some(Err(())), _) => (Found::Bad, Via::Bearer),
            (None, Some(key)) => (self.session_of_key(key, now).await, Via::ApiKey),
            (None, None) => (cookie, Via::Cookie),
        };
        let credential = match found {
            Found::Session(session) => {
                if touch {
                    session.touch(now);
                }
                Credential::Good(Principal { session, via })
            }
            Found::Bad => Credential::Bad,
            Found::Unknown => Credential::Unknown,
        };
        (credential, cookie_session)
    }

    /// The live session an access token is for. Awaits nothing when the session is known here.
    async fn session_of(&self, token: &[u8], now: i64) -> Found {
        let Some(token) = self.verified.check(&*self.tokens, token, now) else { return Found::Bad };
        if let Some(session) = self.sessions.cached(token.session_id)
            // A token newer than the copy means that the copy is stale.
            && token.ver <= session.user_epoch
        {
            return admit(session, &token, now);
        }
        match self.sessions.load(token.session_id, token.ver).await {
            Ok(Some(session)) => admit(session, &token, now),
            Ok(None) => Found::Bad,
            Err(_unavailable) => Found::Unknown,
        }
    }
}

impl Classifier {
    /// Whom an API key stands for. What cannot be one is not looked up.
    async fn session_of_key(&self, key: Result<&str, ()>, now: i64) -> Found {
        let Some(digest) = key.ok().and_then(portcullis_model::api_key::digest) else { return Found::Bad };
        let found = match self.sessions.cached_key(&digest) {
            Some(session) => Ok(Some(session)),
            None => self.sessions.load_key(digest).await,
        };
        match found {
            Ok(Some(session)) if session.api_key.is_some() && now < session.expires_at => Found::Session(session),
            Ok(_) => Found::Bad,
            Err(_unavailable) => Found::Unknown,
        }
    }
}

enum Found {
    Session(Arc<SessionState>),
    Bad,
    Unknown,
}

fn admit(session: Arc<SessionState>, token: &VerifiedToken, now: i64) -> Found {
    if session.user_id == token.user_id && session.demo == token.demo && session.admits(token.ver, now) {
        Found::Session(session)
    } else {
        Found::Bad
    }
}

/// The tokens whose signature was checked, by SHA-256 of the whole token.
/// Bounded; holds verified ones only, so that garbage displaces nothing.
struct VerifiedTokens {
    table: moka::sync::Cache<[u8; 32], Arc<VerifiedToken>, FirstBytes>,
}

/// How many verified tokens are remembered.
const CAPACITY: u64 = 100_000;
/// No access token is longer: it must fit a cookie (requirement 24).
const MAX_TOKEN_BYTES: usize = 4096;

impl VerifiedTokens {
    fn new() -> Self {
        Self { table: moka::sync::Cache::builder().max_capacity(CAPACITY).build_with_hasher(FirstBytes) }
    }

    /// The claims of a good token. A remembered one is still held against the
    /// clock and against the trust in force: keys, issuer and audience.
    fn check(&self, tokens: &dyn AccessTokenVerifier, token: &[u8], now: i64) -> Option<Arc<VerifiedToken>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let digest = sha256(token);
        if let Some(known) = self.table.get(&digest)
            && known.trust == tokens.trust()
        {
            return (known.not_before <= now && now < known.expires).then_some(known);
        }
        let verified = Arc::new(tokens.verify(text(token).ok()?, now).ok()?);
        self.table.insert(digest, Arc::clone(&verified));
        Some(verified)
    }
}

/// A SHA-256 needs no further hashing.
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
    use crate::tests::{FakeSessions, FakeTokens, session};
    use std::sync::atomic::Ordering;

    fn presented(headers: &HeaderMap) -> Presented<'_> {
        static NONE: Cookies =
            Cookies { csrf: Carried::No, pre: Carried::No, session: Carried::No, refresh: Carried::No };
        Presented::read(headers, &NONE)
    }

    fn bearer(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().expect("a value"));
        headers
    }

    async fn good(classifier: &Classifier, token: &str, now: i64) -> bool {
        matches!(classifier.classify(&presented(&bearer(token)), now, true).await.0, Credential::Good(_))
    }

    #[tokio::test]
    async fn sr_41_a_remembered_token_is_verified_once_and_still_checked_at_every_hit() {
        let (tokens, sessions) = (FakeTokens::new(), FakeSessions::new());
        let state = sessions.put(session());
        tokens.issue("good", &state, 1000, 2000);
        let classifier = Classifier::new(tokens.clone(), sessions.clone());
        assert!(good(&classifier, "good", 1500).await);
        assert!(good(&classifier, "good", 1999).await);
        assert_eq!(tokens.verifications(), 1, "the signature is checked once");
        assert!(!good(&classifier, "good", 2000).await, "expired");
        assert!(!good(&classifier, "good", 999).await, "not yet valid");
        // Keys, issuer or audience changed: the signature is checked again.
        tokens.trust.fetch_add(1, Ordering::SeqCst);
        assert!(good(&classifier, "good", 1500).await);
        assert_eq!(tokens.verifications(), 2);
        // The user's tokens died.
        let mut later = session();
        (later.id, later.user_id, later.user_epoch, later.token_epoch) = (state.id, state.user_id, 5, 5);
        sessions.put(later);
        assert!(!good(&classifier, "good", 1500).await, "made in a dead epoch");
        // The session ended.
        sessions.remove(state.id);
        assert!(!good(&classifier, "good", 1500).await);
    }

    #[tokio::test]
    async fn what_fails_verification_is_never_remembered() {
        let (tokens, sessions) = (FakeTokens::new(), FakeSessions::new());
        let classifier = Classifier::new(tokens.clone(), sessions);
        for n in 0..100 {
            assert!(!good(&classifier, &format!("bad{n}"), 1500).await);
        }
        classifier.verified.table.run_pending_tasks();
        assert_eq!(classifier.verified.table.entry_count(), 0);
    }

    #[tokio::test]
    async fn two_kinds_of_credential_are_told_apart_from_none() {
        let classifier = Classifier::new(FakeTokens::new(), FakeSessions::new());
        let mut headers = bearer("x");
        headers.insert("x-api-key", "pk_1".parse().expect("a value"));
        assert!(matches!(classifier.classify(&presented(&headers), 0, true).await.0, Credential::Two));
        let mut basic = HeaderMap::new();
        basic.insert(AUTHORIZATION, "Basic abc".parse().expect("a value"));
        assert!(matches!(classifier.classify(&presented(&basic), 0, true).await.0, Credential::None));
        basic.append(AUTHORIZATION, "Bearer x".parse().expect("a value"));
        assert!(matches!(classifier.classify(&presented(&basic), 0, true).await.0, Credential::Bad));
        assert!(matches!(classifier.classify(&presented(&bearer("pk_x")), 0, true).await.0, Credential::Bad));
    }
}
