//! The credentials in a request's head.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use portcullis_model::api_key;

use crate::request::cookies::{CookieValue, Cookies};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The credentials of a request as its head carries them. `Err` stands for a header that is sent twice or is not text.
#[derive(Debug)]
pub(crate) struct PresentedCredentials<'a> {
    /// Bytes, because a token that is remembered as verified need not be checked for whether it is text.
    pub(crate) bearer: Option<Result<&'a [u8], ()>>,
    pub(crate) api_key: Option<Result<&'a str, ()>>,
    pub(crate) cookie: &'a CookieValue,
}

impl<'a> PresentedCredentials<'a> {
    pub(crate) fn read(headers: &'a HeaderMap, cookies: &'a Cookies) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let bearer = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => bearer_token(value.as_bytes()).map(Ok),
            (Some(_), Some(_)) => Some(Err(())),
        };
        // An API key may also be sent as a bearer token; its prefix tells it from an access token.
        let key_as_bearer = bearer.filter(|bearer| bearer.is_ok_and(is_api_key)).map(|key| key.and_then(text));
        let mut values = headers.get_all(API_KEY).iter();
        let key = match (values.next(), values.next()) {
            (None, _) => key_as_bearer,
            (Some(value), None) if key_as_bearer.is_none() => Some(text(value.as_bytes())),
            _ => Some(Err(())),
        };
        Self { bearer: bearer.filter(|_| key_as_bearer.is_none()), api_key: key, cookie: &cookies.session }
    }

    /// The number of different kinds of credential.
    pub(crate) fn kinds(&self) -> usize {
        usize::from(self.bearer.is_some())
            + usize::from(self.api_key.is_some())
            + usize::from(*self.cookie != CookieValue::Absent)
    }

    /// Whether an access token in `Authorization` is the only credential.
    pub(crate) fn is_bearer_only(&self) -> bool {
        self.bearer.is_some() && self.kinds() == 1
    }
}

/// Returns the token after `Bearer`, in any case (RFC 9110 §11.1). Other schemes are not ours.
fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("bearer".len())?;
    let token = token.strip_prefix(b" ")?;
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

pub(crate) fn text(value: &[u8]) -> Result<&str, ()> {
    std::str::from_utf8(value).map_err(|_| ())
}

/// Whether a bearer token is an API key. No access token begins with the prefix of one.
fn is_api_key(token: &[u8]) -> bool {
    token.starts_with(api_key::PREFIX.as_bytes())
}
