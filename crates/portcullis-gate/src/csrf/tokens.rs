//! CSRF tokens: a signed double-submit cookie, bound to a session or pre-session (docs/contract.md, "CSRF"; SR-25).

use aws_lc_rs::hmac;
use portcullis_model::secret::constant_time_eq;
use portcullis_model::{Random, SecretRing, SecretString};

use crate::decimal::Decimal;

/// The length of the HMAC and of the random part, each 32 bytes in lower-case hexadecimal.
const HEX_LENGTH: usize = 64;
/// Room for two lengths and three separators, in bytes.
const MAX_SEPARATORS: usize = 16;

/// A CSRF token for a page, and the pre-session that goes with it.
#[derive(Debug)]
pub struct IssuedCsrf {
    /// The token, for the page and for the cookie.
    pub token: String,
    /// The pre-session cookie to set; `None` if the client has a session or a pre-session already.
    pub new_pre_session: Option<String>,
}

/// Issues and verifies CSRF tokens.
#[derive(Clone)]
pub struct CsrfTokens {
    /// The first key signs; every key verifies, so that a secret can be replaced without refusing open pages.
    keys: Vec<hmac::Key>,
}

impl CsrfTokens {
    /// Takes the secrets of `CSRF_SECRET`, as their UTF-8 bytes.
    pub fn new(secrets: &SecretRing) -> Self {
        let key = |secret: &SecretString| hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        Self { keys: secrets.iter().map(key).collect() }
    }

    /// Returns a new token for an identifier: a session id or a pre-session.
    pub fn issue(&self, identifier: &str, random: &Random) -> String {
        self.with_randomness(identifier, &random.hex::<32>())
    }

    fn with_randomness(&self, identifier: &str, rnd: &str) -> String {
        format!("{}.{rnd}", hex::encode(sign(&self.keys[0], identifier, rnd)))
    }

    /// Returns the token that a client should use: the one that it carries while that is valid, because tabs share one
    /// cookie jar, and else a new one. `identifier` is its session or pre-session, if it has one.
    pub(crate) fn issue_to(&self, identifier: Option<&str>, carried: Option<&str>, random: &Random) -> IssuedCsrf {
        let Some(identifier) = identifier else {
            let pre_session = random.hex::<32>();
            return IssuedCsrf { token: self.issue(&pre_session, random), new_pre_session: Some(pre_session) };
        };
        let carried = carried.filter(|token| self.verify(identifier, token));
        let token = carried.map_or_else(|| self.issue(identifier, random), str::to_owned);
        IssuedCsrf { token, new_pre_session: None }
    }

    /// Whether the token was issued here for the identifier.
    pub fn verify(&self, identifier: &str, token: &str) -> bool {
        let Some((mac, rnd)) = token.split_once('.') else { return false };
        if !is_part(mac) || !is_part(rnd) {
            return false;
        }
        let mut presented = [0; HEX_LENGTH / 2];
        let is_hex = hex::decode_to_slice(mac, &mut presented).is_ok();
        is_hex && self.keys.iter().any(|key| constant_time_eq(sign(key, identifier, rnd).as_ref(), &presented))
    }
}

/// Returns the HMAC-SHA256 over `len(id) "!" id "!" len(rnd) "!" rnd`, lengths in decimal.
fn sign(key: &hmac::Key, identifier: &str, rnd: &str) -> hmac::Tag {
    let length_of = |text: &str| Decimal::of(text.len() as u64);
    let (identifier_length, rnd_length) = (length_of(identifier), length_of(rnd));
    let mut message = Vec::with_capacity(identifier.len() + rnd.len() + MAX_SEPARATORS);
    for (length, text) in [(&identifier_length, identifier), (&rnd_length, rnd)] {
        if !message.is_empty() {
            message.push(b'!');
        }
        message.extend_from_slice(length.digits());
        message.push(b'!');
        message.extend_from_slice(text.as_bytes());
    }
    hmac::sign(key, &message)
}

impl std::fmt::Debug for CsrfTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CsrfTokens")
    }
}

/// Whether a pre-session cookie's value has the shape of the ones that the gateway sets.
pub(crate) fn is_pre_session(value: &str) -> bool {
    is_part(value)
}

/// Whether a text is 32 bytes in lower-case hexadecimal. It is looked at as a whole, because many bytes at once cost less than
/// one after the other up to the first that is none.
fn is_part(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() | (b'a'..=b'f').contains(&byte);
    text.len() == HEX_LENGTH && text.bytes().fold(true, |all, byte| all & is_hex(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> CsrfTokens {
        CsrfTokens::new(&SecretString::new("an example secret of 32 bytes or more").into())
    }

    #[test]
    fn a_token_of_the_npm_package_csrf_csrf_is_valid() {
        // Made by csrf-csrf 4.0.3 with the same secret, and this identifier for its session identifier. `make csrf`
        // runs the package itself, both ways.
        let id = "0198c0de-0000-7000-8000-000000000003";
        let theirs = "6a0d683f2a61db743c0b2e249df0e27715c43c70d8c808bc526c19acf280c41f.\
                      481b00a33563bbe4b57bb284f982b49127a422b2f87cd12fe4ce1f23eb5f8031";
        assert!(tokens().verify(id, theirs));
        assert!(!tokens().verify("0198c0de-0000-7000-8000-000000000004", theirs), "it is bound to its identifier");
    }

    #[test]
    fn the_format_of_a_token_is_the_contracts() {
        // Computed with Python: hmac.new(secret, b"3!abc!64!" + rnd, hashlib.sha256).hexdigest()
        let rnd = "00".repeat(32);
        assert_eq!(tokens().with_randomness("abc", &rnd), format!("{EXPECTED}.{rnd}"));
    }

    const EXPECTED: &str = "906a2adb1508d275b8a2cf1df9f24de5b0dcf7f023bf4db00e396d8a3cfdbf7a";

    #[test]
    fn sr_25_a_token_is_valid_for_its_identifier_only() {
        let tokens = tokens();
        let token = tokens.issue("session-1", &Random::system());
        assert!(tokens.verify("session-1", &token));
        assert!(!tokens.verify("session-2", &token));
        assert!(
            !CsrfTokens::new(&SecretString::new("another secret of 32 bytes or longer").into())
                .verify("session-1", &token)
        );
    }

    #[test]
    fn a_forged_cut_or_padded_token_is_refused() {
        let tokens = tokens();
        let token = tokens.issue("id", &Random::system());
        let (mac, rnd) = token.split_once('.').expect("two parts");
        for bad in [
            String::new(),
            ".".to_owned(),
            mac.to_owned(),
            format!("{rnd}.{mac}"),
            format!("{mac}.{}", "0".repeat(64)),
            format!("{}.{rnd}", "0".repeat(64)),
            format!("{token}0"),
            token.to_uppercase(),
            token[1..].to_owned(),
            "x".repeat(1_000_000),
        ] {
            assert!(!tokens.verify("id", &bad), "{bad:.80}");
        }
    }

    #[test]
    fn a_former_secret_verifies_and_the_first_one_signs() {
        let (old, new) = ("an example secret of 32 bytes or more", "another secret of 32 bytes or longer");
        let random = Random::system();
        let ring = |secrets: &[&str]| {
            let secrets = secrets.iter().map(|secret| SecretString::new(*secret)).collect();
            CsrfTokens::new(&SecretRing::new(secrets).expect("at least one"))
        };
        let before = ring(&[old]).issue("session-1", &random);
        let both = ring(&[new, old]);
        assert!(both.verify("session-1", &before));
        let after = both.issue("session-1", &random);
        assert!(ring(&[new]).verify("session-1", &after) && !ring(&[old]).verify("session-1", &after));
    }
}
