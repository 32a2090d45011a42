//! The CSRF token that a request presents beside its cookie (docs/contract.md, "CSRF").

use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;

use crate::request::body::{BodyError, InboundBody};
use crate::request::head::content_length;
use crate::request::query::query_value;

// A constant, because a name given as text is parsed at every look-up.
const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
/// The longest body that is searched for `_csrf`, in bytes.
const MAX_BODY_BYTES: u64 = 64 * 1024;
/// How long such a body may take to arrive as a whole.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Looks for the token in the header, then in the query, then in a small body. The body is read only in the last case,
/// and is left in `body` unchanged.
pub(crate) async fn presented_token(
    headers: &HeaderMap,
    query: Option<&str>,
    body: &mut InboundBody,
) -> Result<Option<String>, BodyError> {
    if let Some(token) = in_header(headers) {
        return Ok(Some(token));
    }
    if let Some(token) = query.filter(|query| query.contains("_csrf")).and_then(|query| query_value(query, "_csrf")) {
        return Ok(Some(token));
    }
    let is_small = content_length(headers).is_some_and(|length| length <= MAX_BODY_BYTES);
    if !is_small || headers.contains_key(CONTENT_ENCODING) {
        return Ok(None);
    }
    let Some(form) = Form::of(headers) else { return Ok(None) };
    let collected = tokio::time::timeout(BODY_TIMEOUT, std::mem::take(body).collect()).await;
    let bytes = collected.map_err(|_elapsed| BodyError::TooSlow)??.to_bytes();
    let token = form.token(&bytes);
    *body = InboundBody::from_bytes(bytes);
    Ok(token)
}

/// A header that is not text, or that is sent twice, counts as a wrong token.
fn in_header(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(CSRF_TOKEN).iter();
    let value = values.next()?;
    let is_only = values.next().is_none();
    Some(value.to_str().ok().filter(|_| is_only).unwrap_or_default().to_owned())
}

/// The kinds of body that may hold `_csrf`. A multipart body is never read.
enum Form {
    Json,
    UrlEncoded,
}

impl Form {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if essence.eq_ignore_ascii_case(b"application/json") {
            Some(Self::Json)
        } else if essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            Some(Self::UrlEncoded)
        } else {
            None
        }
    }

    fn token(&self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Json => serde_json::from_slice::<WithToken>(bytes).ok()?.csrf,
            Self::UrlEncoded => {
                form_urlencoded::parse(bytes).find(|(key, _)| key == "_csrf").map(|(_, value)| value.into_owned())
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct WithToken {
    #[serde(rename = "_csrf")]
    csrf: Option<String>,
}
