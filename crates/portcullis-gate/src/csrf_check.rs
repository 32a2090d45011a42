//! The CSRF phase: which requests need the token pair, where it stands, and
//! whether it is good (contract §5, requirement 25).

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http_body_util::BodyExt;
use portcullis_model::SessionState;
use portcullis_model::policy::{CsrfPolicy, RoutePolicy};
use portcullis_model::secret::constant_time_eq;

use crate::body::{BodyError, InboundBody};
use crate::config::{CsrfMode, GateConfig};
use crate::cookies::{Carried, Cookies};
use crate::csrf::is_pre_session;
use crate::phases::content_length;
use crate::refusal::{CsrfReason, Malformation, Refusal};
use crate::versions;

/// The longest body that is looked into for `_csrf`, in bytes (contract §5).
const MAX_CSRF_BODY: u64 = 64 * 1024;
/// How long such a body may take to arrive.
const CSRF_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Every method but those that change nothing: also one that we do not know.
pub(crate) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Requirement 27 holds wherever the cookie may authenticate, so `csrf = false`
/// does not lift it: that waives the token only. A refresh by cookie is the one
/// exception, because it asks for more: its `Origin` must be ours or allowed.
pub(crate) fn must_be_same_site(policy: &RoutePolicy, method: &Method, by_cookie: bool) -> bool {
    by_cookie && is_unsafe(method) && policy.csrf != CsrfPolicy::ExemptWithOriginCheck
}

/// Whether this request needs the token pair.
pub(crate) fn needs_csrf(
    config: &GateConfig,
    policy: &RoutePolicy,
    method: &Method,
    cookies: &Cookies,
    cookie_session: Option<&Arc<SessionState>>,
) -> bool {
    if !is_unsafe(method) {
        return false;
    }
    if config.csrf.mode == CsrfMode::Cookie && cookies.session == Carried::No {
        return false;
    }
    match policy.csrf {
        CsrfPolicy::Checked => true,
        CsrfPolicy::ExemptUnlessCookie => cookie_session.is_some(),
        CsrfPolicy::ExemptWithOriginCheck | CsrfPolicy::Exempt => false,
    }
}

pub(crate) fn pre_session(cookies: &Cookies) -> Option<&str> {
    cookies.pre.value().filter(|value| is_pre_session(value))
}

/// The token beside the cookie: in the header, else in the query, else in a
/// small body, which is read only then and passes on unchanged.
pub(crate) async fn presented_csrf(
    headers: &HeaderMap,
    query: Option<&str>,
    body: &mut InboundBody,
) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all("x-csrf-token").iter();
    if let Some(value) = values.next() {
        let only = values.next().is_none();
        return Ok(Some(value.to_str().ok().filter(|_| only).unwrap_or_default().to_owned()));
    }
    if let Some(token) =
        query.filter(|query| query.contains("_csrf")).and_then(|query| versions::query_value(query, "_csrf"))
    {
        return Ok(Some(token));
    }
    let small = content_length(headers).is_some_and(|length| length <= MAX_CSRF_BODY);
    if !small || headers.contains_key(CONTENT_ENCODING) {
        return Ok(None);
    }
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim();
    let json = essence.eq_ignore_ascii_case("application/json");
    if !json && !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(None);
    }
    let gathering = tokio::time::timeout(CSRF_BODY_TIMEOUT, std::mem::take(body).collect());
    let bytes = match gathering.await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(BodyError::TooLarge)) => return Err(Refusal::PayloadTooLarge),
        Ok(Err(BodyError::Transport(_) | BodyError::TooSlow)) | Err(_) => {
            return Err(Refusal::Malformed(Malformation::Body));
        }
    };
    let token = if json {
        serde_json::from_slice::<WithCsrf>(&bytes).ok().and_then(|form| form.csrf)
    } else {
        form_urlencoded::parse(&bytes).find(|(key, _)| key == "_csrf").map(|(_, value)| value.into_owned())
    };
    *body = InboundBody::gathered(bytes);
    Ok(token)
}

#[derive(serde::Deserialize)]
struct WithCsrf {
    #[serde(rename = "_csrf")]
    csrf: Option<String>,
}

pub(crate) fn check_csrf(
    config: &GateConfig,
    cookies: &Cookies,
    identifier: Option<&str>,
    presented: Option<&str>,
) -> Result<(), CsrfReason> {
    let cookie = match &cookies.csrf {
        Carried::Once(cookie) => cookie,
        Carried::No => return Err(CsrfReason::NoCookie),
        Carried::Twice => return Err(CsrfReason::TwoCookies),
    };
    let presented = presented.ok_or(CsrfReason::NoToken)?;
    if !constant_time_eq(cookie.as_bytes(), presented.as_bytes()) {
        return Err(CsrfReason::Mismatch);
    }
    let signed = identifier.is_some_and(|identifier| config.csrf.tokens.verify(identifier, presented));
    if signed { Ok(()) } else { Err(CsrfReason::Forged) }
}

/// Requirement 42: `_csrf` never reaches an upstream.
pub(crate) fn without_csrf(query: &str) -> Box<str> {
    if !query.contains("_csrf") && !query.contains('%') {
        return query.into();
    }
    let is_csrf = |pair: &&str| form_urlencoded::parse(pair.as_bytes()).next().is_some_and(|(key, _)| key == "_csrf");
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_csrf(pair)).collect();
    kept.join("&").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_42_the_token_is_taken_out_of_the_query_in_every_spelling() {
        for (query, left) in [
            ("a=1&_csrf=x&b=2", "a=1&b=2"),
            ("_csrf=x", ""),
            ("%5Fcsrf=x&a=1", "a=1"),
            ("_%63srf=x&a=%20", "a=%20"),
            ("a=_csrf", "a=_csrf"),
            ("_csrf", ""),
        ] {
            assert_eq!(&*without_csrf(query), left, "{query}");
        }
    }
}
