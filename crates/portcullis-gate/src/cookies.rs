//! Our cookies in a request, and their names.

use http::HeaderMap;
use http::header::COOKIE;
use portcullis_model::policy::Environment;

/// The cookies that Portcullis sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieName {
    /// The CSRF token.
    Csrf,
    /// The random id of somebody who has not signed in.
    Pre,
    /// The access token, for `transport=cookie`.
    Session,
    /// The refresh token, for `transport=cookie`.
    Refresh,
}

const BASE: [&str; 4] = ["portcullis-csrf", "portcullis-pre", "portcullis-session", "portcullis-refresh"];
const HOST: [&str; 4] =
    ["__Host-portcullis-csrf", "__Host-portcullis-pre", "__Host-portcullis-session", "__Host-portcullis-refresh"];

impl CookieName {
    /// The name on the wire; production binds cookies to the host by the `__Host-` prefix (RFC 6265bis).
    pub fn on_wire(self, environment: Environment) -> &'static str {
        let names = if environment == Environment::Production { &HOST } else { &BASE };
        names[self as usize]
    }

    /// Every name that is ours, in every environment: none of them reaches an upstream or comes from one.
    pub fn all_spellings() -> impl Iterator<Item = &'static str> {
        BASE.into_iter().chain(HOST)
    }
}

/// Our cookies as one request carries them.
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    pub(crate) csrf: Carried,
    pub(crate) pre: Carried,
    pub(crate) session: Carried,
    pub(crate) refresh: Carried,
}

/// A cookie's value. Two values of one name mean that somebody planted one (requirement 24).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Carried {
    #[default]
    No,
    Once(Box<str>),
    Twice,
}

impl Carried {
    pub(crate) fn value(&self) -> Option<&str> {
        match self {
            Self::Once(value) => Some(value),
            Self::No | Self::Twice => None,
        }
    }

    fn add(&mut self, value: &str) {
        *self = match self {
            Self::No => Self::Once(value.into()),
            Self::Once(_) | Self::Twice => Self::Twice,
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

    #[test]
    fn sr_24_names_carry_the_host_prefix_in_production_and_doubles_are_noticed() {
        assert_eq!(CookieName::Session.on_wire(Environment::Production), "__Host-portcullis-session");
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=b; portcullis-csrf=one; portcullis-pre=p"));
        headers.append(COOKIE, HeaderValue::from_static("portcullis-csrf=two"));
        let cookies = Cookies::read(&headers, Environment::Development);
        assert_eq!(cookies.csrf, Carried::Twice);
        assert_eq!(cookies.pre.value(), Some("p"));
        let cookies = Cookies::read(&headers, Environment::Production);
        assert_eq!(cookies.csrf, Carried::No, "without the prefix a cookie is not ours in production");
    }
}
