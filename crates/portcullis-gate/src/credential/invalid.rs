//! Why a credential is invalid, for `explain`. A client is never told (SR-30).

use http::HeaderMap;
use portcullis_model::policy::Environment;
use portcullis_model::{SessionEnd, Timestamp, VerifiedToken, api_key};

use crate::credential::Credential;
use crate::credential::classifier::Classifier;
use crate::credential::presented::{PresentedCredentials, text};
use crate::request::cookies::Cookies;

impl Classifier {
    /// Returns what is wrong with the credential of these headers, in words that repeat nothing of it. `None` if it is not
    /// invalid. `now` is in Unix seconds.
    pub(crate) async fn why_invalid(&self, headers: &HeaderMap, environment: Environment, now: i64) -> Option<String> {
        let cookies = Cookies::read(headers, environment);
        let presented = PresentedCredentials::read(headers, &cookies);
        if !matches!(self.classify(&presented, now).await, (Credential::Invalid, _)) {
            return None;
        }
        Some(match (presented.bearer, presented.api_key) {
            (Some(Ok(token)), _) => self.why_token_is_invalid(token, now).await,
            (Some(Err(())), _) => "Authorization is there twice".to_owned(),
            (None, Some(Ok(key))) => self.why_key_is_invalid(key).await,
            (None, Some(Err(()))) => "the API key is there twice, or is no text".to_owned(),
            (None, None) => match presented.cookie.value() {
                Some(token) => self.why_token_is_invalid(token.as_bytes(), now).await,
                None => "the session cookie is there twice, or is no text".to_owned(),
            },
        })
    }

    async fn why_token_is_invalid(&self, token: &[u8], now: i64) -> String {
        let Ok(token) = text(token) else { return "the access token is no text".to_owned() };
        let token = match self.tokens.verify(token, now) {
            Ok(token) => token,
            Err(error) => return format!("the access token is refused: {error}"),
        };
        match self.sessions.load(token.session_id, token.ver).await {
            Ok(Some(_)) => {
                "the access token is older than a change of its user, such as a sign-out everywhere".to_owned()
            }
            Ok(None) | Err(_) => self.why_session_is_gone(&token).await,
        }
    }

    async fn why_session_is_gone(&self, token: &VerifiedToken) -> String {
        match self.sessions.end_of(token.session_id).await {
            Some(SessionEnd::Ended { at, reason }) => {
                let reason = reason.map_or_else(String::new, |reason| format!(" by {}", reason.replace('_', " ")));
                format!("its session ended at {}{reason}", shown(at))
            }
            Some(SessionEnd::Expired { at }) => format!("its session expired at {}", shown(at)),
            Some(SessionEnd::WithItsUser) => {
                "its session ended: its user was deactivated, or all sessions of the user were ended".to_owned()
            }
            None => "its session is not known, or not any more".to_owned(),
        }
    }

    async fn why_key_is_invalid(&self, key: &str) -> String {
        let Some(digest) = api_key::digest(key) else { return "the API key does not have the form of one".to_owned() };
        match self.sessions.load_key(digest).await {
            Ok(Some(_)) => "the API key has expired",
            Ok(None) | Err(_) => "the API key is not known, was revoked, or its owner is deactivated",
        }
        .to_owned()
    }
}

fn shown(at: Timestamp) -> impl std::fmt::Display {
    at.format("%Y-%m-%d %H:%M:%S UTC")
}
