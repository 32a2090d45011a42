//! The cookies that Portcullis sets, as a request carries them.

use http::HeaderMap;
use http::header::COOKIE;
use portcullis_model::policy::Environment;

/// A cookie that Portcullis sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieName {
    /// Holds the CSRF token.
    Csrf,
    /// Holds a random id for a client that has not signed in, which its CSRF token is bound to.
    Pre,
    /// Holds the access token, for `transport=cookie`.
    Session,
    /// Holds the refresh token, for `transport=cookie`.
    Refresh,
}

const BASE: [&str; 4] = ["portcullis-csrf", "portcullis-pre", "portcullis-session", "portcullis-refresh"];
const HOST: [&str; 4] =
    ["__Host-portcullis-csrf", "__Host-portcullis-pre", "__Host-portcullis-session", "__Host-portcullis-refresh"];

impl CookieName {
    /// Returns the name on the wire; production binds cookies to the host by the `__Host-` prefix (RFC 6265bis).
    pub fn on_wire(self, environment: Environment) -> &'static str {
        let names = if environment == Environment::Production { &HOST } else { &BASE };
        names[self as usize]
    }

    /// Returns every name in every environment: none of these cookies reaches an upstream or comes from one.
    pub fn all_spellings() -> impl Iterator<Item = &'static str> {
        BASE.into_iter().chain(HOST)
    }
}

/// The values of our cookies in one request.
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    pub(crate) csrf: CookieValue,
    pub(crate) pre: CookieValue,
    pub(crate) session: CookieValue,
    pub(crate) refresh: CookieValue,
}

/// A cookie's value. Two cookies of one name mean that one of them was planted, so neither counts (SR-24).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum CookieValue {
    #[default]
    Absent,
    Single(Box<str>),
    Duplicate,
}

impl CookieValue {
    pub(crate) fn value(&self) -> Option<&str> {
        match self {
            Self::Single(value) => Some(value),
            Self::Absent | Self::Duplicate => None,
        }
    }

    /// Adds a value. One that is not text stays present, and is no valid one.
    fn add(&mut self, value: &[u8]) {
        *self = match self {
            Self::Absent => Self::Single(String::from_utf8_lossy(value.trim_ascii()).into()),
            Self::Single(_) | Self::Duplicate => Self::Duplicate,
        };
    }
}

impl Cookies {
    /// Reads our cookies. Those of others are opaque bytes, which may be anything (RFC 6265 §5.4), and spoil nothing.
    pub(crate) fn read(headers: &HeaderMap, environment: Environment) -> Self {
        let mut cookies = Self::default();
        for field in headers.get_all(COOKIE) {
            for pair in field.as_bytes().split(|byte| *byte == b';') {
                let Some(end) = pair.iter().position(|byte| *byte == b'=') else { continue };
                let (name, value) = (pair[..end].trim_ascii(), &pair[end + 1..]);
                let is = |cookie: CookieName| name == cookie.on_wire(environment).as_bytes();
                if is(CookieName::Csrf) {
                    cookies.csrf.add(value);
                } else if is(CookieName::Pre) {
                    cookies.pre.add(value);
                } else if is(CookieName::Session) {
                    cookies.session.add(value);
                } else if is(CookieName::Refresh) {
                    cookies.refresh.add(value);
                }
            }
        }
        cookies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(fields: &[&str], environment: Environment) -> Cookies {
        read_bytes(&fields.iter().map(|field| field.as_bytes()).collect::<Vec<_>>(), environment)
    }

    fn read_bytes(fields: &[&[u8]], environment: Environment) -> Cookies {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_bytes(field).expect("a value"));
        }
        Cookies::read(&headers, environment)
    }

    #[test]
    fn the_cookies_of_others_spoil_none_of_ours() {
        for others in [
            &b"name=\xe9t\xe9"[..],
            b"\xff\xfe=1",
            b"n=Andr\xc3\xa9",
            b"=nameless",
            b"alone",
            b";;",
            b"q=\"a, b\"",
            b"a=b=c==",
        ] {
            for field in [[others, b"; portcullis-session=s"].concat(), [b"portcullis-session=s;", others].concat()] {
                let cookies = read_bytes(&[&field], Environment::Development);
                assert_eq!(cookies.session.value(), Some("s"), "{}", field.escape_ascii());
            }
            let cookies = read_bytes(&[others, b"portcullis-session=s"], Environment::Development);
            assert_eq!(cookies.session.value(), Some("s"), "{}", others.escape_ascii());
        }
    }

    #[test]
    fn a_cookie_of_ours_that_is_not_text_is_present_and_wrong() {
        let cookies = read_bytes(&[b"portcullis-session=\xe9"], Environment::Development);
        assert_eq!(cookies.session.value(), Some("\u{fffd}"));
        let cookies = read_bytes(&[b"\xa0portcullis-session=s"], Environment::Development);
        assert_eq!(cookies.session, CookieValue::Absent, "the name of another cookie");
    }

    #[test]
    fn sr_24_in_production_only_names_with_the_host_prefix_count() {
        assert_eq!(CookieName::Session.on_wire(Environment::Production), "__Host-portcullis-session");
        let cookies = read(&["portcullis-csrf=one"], Environment::Production);
        assert_eq!(cookies.csrf, CookieValue::Absent);
    }

    #[test]
    fn sr_24_two_cookies_of_one_name_are_a_duplicate() {
        let lines = ["a=b; portcullis-csrf=one; portcullis-pre=p", "portcullis-csrf=two"];
        let cookies = read(&lines, Environment::Development);
        assert_eq!(cookies.csrf, CookieValue::Duplicate);
        assert_eq!(cookies.pre.value(), Some("p"));
    }
}
