//! From the presented credentials to a principal.

use std::sync::Arc;

use portcullis_model::{AccessTokenVerifier, SessionSource, SessionState, VerifiedToken, api_key};

use crate::credential::presented::PresentedCredentials;
use crate::credential::verified_tokens::VerifiedTokens;
use crate::credential::{Credential, CredentialKind, Principal};

/// Finds the principal of the credentials that a request presents.
pub(crate) struct Classifier {
    pub(super) tokens: Arc<dyn AccessTokenVerifier>,
    pub(super) sessions: Arc<dyn SessionSource>,
    verified: VerifiedTokens,
}

/// The result of looking one credential up.
enum Found {
    Session(Arc<SessionState>),
    Invalid,
    Unconfirmed,
    Undecided,
}

impl Classifier {
    pub(crate) fn new(tokens: Arc<dyn AccessTokenVerifier>, sessions: Arc<dyn SessionSource>) -> Self {
        Self { tokens, sessions, verified: VerifiedTokens::new() }
    }

    /// Returns the credential, and beside it the session of a valid cookie: the CSRF token is bound to that session
    /// even when the request presents a second credential. `now` is in Unix seconds.
    pub(crate) async fn classify(
        &self,
        presented: &PresentedCredentials<'_>,
        now: i64,
    ) -> (Credential, Option<Arc<SessionState>>) {
        let kinds = presented.kinds();
        if kinds == 0 {
            return (Credential::None, None);
        }
        let cookie = match presented.cookie.value() {
            Some(token) => self.session_of_token(token.as_bytes(), now).await,
            None => Found::Invalid,
        };
        let cookie_session = match &cookie {
            Found::Session(session) => Some(Arc::clone(session)),
            Found::Invalid | Found::Unconfirmed | Found::Undecided => None,
        };
        if kinds > 1 {
            return (Credential::Ambiguous, cookie_session);
        }
        let key = presented.api_key.and_then(Result::ok).and_then(api_key::digest);
        let (found, kind) = match (presented.bearer, presented.api_key) {
            (Some(Ok(token)), _) => (self.session_of_token(token, now).await, CredentialKind::Bearer),
            (Some(Err(())), _) => (Found::Invalid, CredentialKind::Bearer),
            (None, Some(_)) => (self.session_of_key(key, now).await, CredentialKind::ApiKey),
            (None, None) => (cookie, CredentialKind::Cookie),
        };
        let credential = match found {
            Found::Session(session) => Credential::Valid(Principal { session, kind, key }),
            Found::Invalid => Credential::Invalid,
            Found::Unconfirmed => Credential::Unconfirmed,
            Found::Undecided => Credential::Undecided,
        };
        (credential, cookie_session)
    }

    /// Finds the live session of an access token. It awaits nothing when the session is in the session cache.
    async fn session_of_token(&self, token: &[u8], now: i64) -> Found {
        let Some(token) = self.verified.check(&*self.tokens, token, now) else { return Found::Invalid };
        if let Some(session) = self.sessions.cached(token.session_id)
            // A token of a later epoch than the cached copy means that the copy is stale.
            && token.ver <= session.user_epoch
        {
            return admit(session, &token, now);
        }
        match self.sessions.load(token.session_id, token.ver).await {
            Ok(Some(session)) => admit(session, &token, now),
            Ok(None) => Found::Invalid,
            Err(_unavailable) => Found::Undecided,
        }
    }

    /// Finds the session of an API key by its SHA-256. Text without the shape of a key has none.
    async fn session_of_key(&self, digest: Option<[u8; 32]>, now: i64) -> Found {
        let Some(digest) = digest else { return Found::Invalid };
        let found = match self.sessions.cached_key(&digest) {
            Some(session) => Ok(Some(session)),
            None => self.sessions.load_key(digest).await,
        };
        match found {
            Ok(Some(session)) if session.api_key.is_none() || now >= session.expires_at => Found::Invalid,
            Ok(Some(session)) if !session.email_verified => Found::Unconfirmed,
            Ok(Some(session)) => Found::Session(session),
            Ok(None) => Found::Invalid,
            Err(_unavailable) => Found::Undecided,
        }
    }
}

fn admit(session: Arc<SessionState>, token: &VerifiedToken, now: i64) -> Found {
    if session.user_id == token.user_id && session.admits(token.ver, now) {
        Found::Session(session)
    } else {
        Found::Invalid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::cookies::{CookieValue, Cookies};
    use http::HeaderMap;
    use portcullis_testkit::{KnownSessions, session};

    async fn classify(classifier: &Classifier, headers: &[(&'static str, &str)]) -> Credential {
        static NO_COOKIES: Cookies = Cookies {
            csrf: CookieValue::Absent,
            pre: CookieValue::Absent,
            session: CookieValue::Absent,
            refresh: CookieValue::Absent,
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        classifier.classify(&PresentedCredentials::read(&map, &NO_COOKIES), 1500).await.0
    }

    async fn classify_alone(headers: &[(&'static str, &str)]) -> Credential {
        classify(&Classifier::new(Arc::<KnownSessions>::default(), Arc::<KnownSessions>::default()), headers).await
    }

    const BEARER: (&str, &str) = ("authorization", "Bearer good");

    /// A classifier that knows one session, and its token `good`.
    fn one_session() -> (Classifier, Arc<KnownSessions>, Arc<SessionState>) {
        let sessions = Arc::<KnownSessions>::default();
        let session = sessions.put(session().build());
        sessions.issue("good", &session, 1000..2000);
        (Classifier::new(sessions.clone(), sessions.clone()), sessions, session)
    }

    #[tokio::test]
    async fn sr_41_a_token_of_a_dead_epoch_is_invalid() {
        let (classifier, sessions, known) = one_session();
        assert!(matches!(classify(&classifier, &[BEARER]).await, Credential::Valid(_)));
        sessions.put(session().id(known.id).user(known.user_id).epochs(1, 5).token_epoch(5).build());
        assert!(matches!(classify(&classifier, &[BEARER]).await, Credential::Invalid));
    }

    #[tokio::test]
    async fn sr_41_a_token_of_an_ended_session_is_invalid() {
        let (classifier, sessions, known) = one_session();
        sessions.end(known.id);
        assert!(matches!(classify(&classifier, &[BEARER]).await, Credential::Invalid));
    }

    #[tokio::test]
    async fn two_kinds_of_credential_are_ambiguous() {
        let found = classify_alone(&[BEARER, ("x-api-key", "pk_1")]).await;
        assert!(matches!(found, Credential::Ambiguous), "{found:?}");
    }

    #[tokio::test]
    async fn another_authorization_scheme_is_no_credential() {
        assert!(matches!(classify_alone(&[("authorization", "Basic abc")]).await, Credential::None));
    }

    #[tokio::test]
    async fn two_authorization_headers_are_invalid() {
        let found = classify_alone(&[("authorization", "Basic abc"), ("authorization", "Bearer x")]).await;
        assert!(matches!(found, Credential::Invalid), "{found:?}");
    }

    #[tokio::test]
    async fn an_unknown_api_key_as_a_bearer_token_is_invalid() {
        assert!(matches!(classify_alone(&[("authorization", "Bearer pk_x")]).await, Credential::Invalid));
    }
}
