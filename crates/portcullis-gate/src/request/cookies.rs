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

    fn add(&mut self, value: &str) {
        *self = match self {
            Self::Absent => Self::Single(value.into()),
            Self::Single(_) | Self::Duplicate => Self::Duplicate,
        };
    }
}

impl Cookies {
    pub(crate) fn read(headers: &HeaderMap, environment: Environment) -> Self {
        let mut cookies = Self::default();
        for line in headers.get_all(COOKIE) {
            let Ok(line) = line.to_str() else { continue };
            for (name, value) in line.split(';').filter_map(|pair| pair.trim_start().split_once('=')) {
                let name = name.trim_end();
                if name == CookieName::Csrf.on_wire(environment) {
                    cookies.csrf.add(value.trim());
                } else if name == CookieName::Pre.on_wire(environment) {
                    cookies.pre.add(value.trim());
                } else if name == CookieName::Session.on_wire(environment) {
                    cookies.session.add(value.trim());
                } else if name == CookieName::Refresh.on_wire(environment) {
                    cookies.refresh.add(value.trim());
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

    fn read(lines: &[&'static str], environment: Environment) -> Cookies {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_static(line));
        }
        Cookies::read(&headers, environment)
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
