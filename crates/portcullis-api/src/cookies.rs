//! `Set-Cookie` values (`docs/contract.md`, "CSRF"; SR-24).

use http::HeaderValue;
use portcullis_model::policy::Environment;

/// The attributes of the cookies that Portcullis sets. The gate knows their names on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CookieShape {
    production: bool,
}

impl CookieShape {
    pub(crate) fn of(environment: Environment) -> Self {
        Self { production: environment == Environment::Production }
    }

    /// A cookie that lives for `max_age` seconds, or until the browser closes when `None`.
    pub(crate) fn set(self, name: &str, value: &str, max_age: Option<u64>) -> HeaderValue {
        let age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let attributes = if self.production { "SameSite=Strict; Secure" } else { "SameSite=Lax" };
        HeaderValue::try_from(format!("{name}={value}; Path=/; HttpOnly; {attributes}{age}"))
            .expect("cookie values are tokens in hex, base64url or JWT form")
    }

    pub(crate) fn clear(self, name: &str) -> HeaderValue {
        self.set(name, "", Some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_24_production_cookies_are_strict_secure_and_http_only() {
        let cookie = CookieShape::of(Environment::Production).set("__Host-portcullis-session", "v", Some(60));
        assert_eq!(cookie, "__Host-portcullis-session=v; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=60");
        let cookie = CookieShape::of(Environment::Development).set("portcullis-csrf", "v", None);
        assert_eq!(cookie, "portcullis-csrf=v; Path=/; HttpOnly; SameSite=Lax");
    }
}
