//! `SMTP_URL`: the address of the SMTP server.

use std::fmt;

use percent_encoding::percent_decode_str;
use portcullis_model::{InvalidInput, SecretString};

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all: for a server on this machine or in a private network.
    None,
    /// With STARTTLS (RFC 3207). Nothing is sent if the server does not offer it.
    StartTls,
    /// With TLS from the first byte (RFC 8314).
    Tls,
}

/// The address of an SMTP server, with credentials.
#[derive(Clone, Debug)]
pub struct SmtpUrl {
    /// How the connection is encrypted.
    pub security: Security,
    /// The server's name or IP address.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// User and password, if the server asks for them.
    pub credentials: Option<(String, SecretString)>,
}

const FORM: &str = "write smtps://user:password@host:465, smtp+starttls://user:password@host:587 or smtp://host:25; \
                    characters such as @ : / in user or password are percent-encoded";

impl SmtpUrl {
    /// Reads an address. The error never repeats the text, which may contain a password.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let reject = || InvalidInput(FORM.to_owned());
        let parsed = ::url::Url::parse(text).map_err(|_| reject())?;
        let (security, port) = match parsed.scheme() {
            "smtp" => (Security::None, 25),
            "smtp+starttls" => (Security::StartTls, 587),
            "smtps" => (Security::Tls, 465),
            _ => return Err(reject()),
        };
        refuse_options(&parsed)?;
        let bare = matches!(parsed.path(), "" | "/") && parsed.fragment().is_none();
        let host = parsed.host_str().filter(|host| !host.is_empty() && bare).ok_or_else(reject)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).ok();
        let user = decoded(parsed.username()).ok_or_else(reject)?;
        let credentials = match (user.is_empty(), parsed.password()) {
            (true, None) => None,
            (false, Some(password)) => Some((user, SecretString::new(decoded(password).ok_or_else(reject)?))),
            _ => return Err(InvalidInput("give both user and password, or neither".to_owned())),
        };
        Ok(Self { security, host, port: parsed.port().unwrap_or(port), credentials })
    }

    /// Whether a password would be sent over a network without encryption.
    pub fn sends_password_in_clear(&self) -> bool {
        self.security == Security::None && self.credentials.is_some() && !self.is_local()
    }

    /// Whether the server is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    }
}

/// Names the options of an address, which would have no effect. It repeats no value.
fn refuse_options(url: &::url::Url) -> Result<(), InvalidInput> {
    if url.query().is_none() {
        return Ok(());
    }
    // What has no value may be a piece of a password.
    let names: Vec<String> = url
        .query_pairs()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, _)| name.chars().take(40).flat_map(char::escape_debug).collect())
        .collect();
    let named = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    Err(InvalidInput(format!(
        "the address of a mail server takes no options after ?{named}: smtps:// and smtp+starttls:// encrypt and check the \
         certificate, and mail.authorities names a private authority"
    )))
}

/// Writes the address without user and password.
impl fmt::Display for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.security {
            Security::None => "smtp",
            Security::StartTls => "smtp+starttls",
            Security::Tls => "smtps",
        };
        let brackets = self.host.contains(':');
        let (open, close) = if brackets { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_scheme_host_port_and_credentials() {
        let url = SmtpUrl::parse("smtp+starttls://ada%40example.com:p%40ss%3Aword@mail.example.com").expect("valid");
        assert_eq!((url.security, url.host.as_str(), url.port), (Security::StartTls, "mail.example.com", 587));
        let (user, password) = url.credentials.as_ref().expect("both");
        assert_eq!((user.as_str(), password.expose()), ("ada@example.com", "p@ss:word"));
        let plain = SmtpUrl::parse("smtp://127.0.0.1:2525").expect("valid");
        assert_eq!((plain.security, plain.port, plain.credentials.is_none()), (Security::None, 2525, true));
        assert_eq!(SmtpUrl::parse("smtps://[::1]").expect("valid").to_string(), "smtps://[::1]:465");
        assert!(SmtpUrl::parse("smtp://a:b@mail.example").expect("valid").sends_password_in_clear());
        for safe in ["smtp://a:b@localhost", "smtp://mail.example", "smtps://a:b@mail.example"] {
            assert!(!SmtpUrl::parse(safe).expect("valid").sends_password_in_clear(), "{safe}");
        }
    }

    #[test]
    fn sr_47_a_bad_address_is_refused_without_showing_its_password() {
        for bad in [
            "mail.example.com",
            "http://a:hunter2@mail.example",
            "smtp://",
            "smtp://a:hunter2@host/path",
            "smtp://a:hunter2@host?x=1",
            "smtp://ada@host",
            "smtp://:hunter2@host",
            "smtp://a:hunter2%ff@host",
            "smtp://a:hunter2@host:99999",
        ] {
            let InvalidInput(why) = SmtpUrl::parse(bad).expect_err(bad);
            assert!(!why.contains("hunter2"), "{why}");
        }
        let InvalidInput(why) = SmtpUrl::parse("smtp://mail?secure=hunter2&tls=x&hunter2").expect_err("options");
        assert!(why.contains("(secure, tls)") && !why.contains("hunter2"), "{why}");
        let url = SmtpUrl::parse("smtps://ada:hunter2@mail.example").expect("valid");
        assert!(!format!("{url} {url:?}").contains("hunter2"), "{url:?}");
    }
}
