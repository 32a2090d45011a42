//! CSRF tokens: a double-submit cookie, signed and bound (contract §5, requirement 25).

use aws_lc_rs::hmac;
use portcullis_model::secret::constant_time_eq;
use portcullis_model::{Random, SecretRing, SecretString};

/// The HMAC part and `rnd`, each 32 bytes in lower-case hexadecimal.
const HEX_LENGTH: usize = 64;

/// Makes and checks tokens.
#[derive(Clone)]
pub struct CsrfTokens {
    /// The first signs, all check.
    keys: Vec<hmac::Key>,
}

impl CsrfTokens {
    /// With `CSRF_SECRET`, taken as its UTF-8 bytes.
    pub fn new(secrets: &SecretRing) -> Self {
        let key = |secret: &SecretString| hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        Self { keys: secrets.iter().map(key).collect() }
    }

    /// A new token for an identifier.
    pub fn issue(&self, identifier: &str, random: &Random) -> String {
        self.with_randomness(identifier, &random.hex::<32>())
    }

    fn with_randomness(&self, identifier: &str, rnd: &str) -> String {
        format!("{}.{rnd}", hex::encode(sign(&self.keys[0], identifier, rnd)))
    }

    /// Whether this is a token of ours for the identifier.
    pub fn verify(&self, identifier: &str, token: &str) -> bool {
        let Some((mac, rnd)) = token.split_once('.') else { return false };
        let lower_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if mac.len() != HEX_LENGTH || rnd.len() != HEX_LENGTH || !lower_hex(mac) || !lower_hex(rnd) {
            return false;
        }
        let made_by =
            |key: &hmac::Key| constant_time_eq(hex::encode(sign(key, identifier, rnd)).as_bytes(), mac.as_bytes());
        self.keys.iter().any(made_by)
    }
}

/// HMAC-SHA256 over `len(id) "!" id "!" len(rnd) "!" rnd`, lengths in decimal.
fn sign(key: &hmac::Key, identifier: &str, rnd: &str) -> hmac::Tag {
    let message = format!("{}!{identifier}!{}!{rnd}", identifier.len(), rnd.len());
    hmac::sign(key, message.as_bytes())
}

impl std::fmt::Debug for CsrfTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CsrfTokens")
    }
}

/// Whether a pre-session cookie's value is one of ours in shape.
pub(crate) fn is_pre_session(value: &str) -> bool {
    value.len() == HEX_LENGTH && value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> CsrfTokens {
        CsrfTokens::new(&SecretString::new("an example secret of 32 bytes or more").into())
    }

    #[test]
    fn a_token_of_the_npm_package_csrf_csrf_is_one_of_ours() {
        // Made by csrf-csrf 4.0.3 with the same secret, and this identifier for its session identifier. `make csrf`
        // runs the package itself, both ways.
        let id = "0198c0de-0000-7000-8000-000000000003";
        let theirs = "6a0d683f2a61db743c0b2e249df0e27715c43c70d8c808bc526c19acf280c41f.\
                      481b00a33563bbe4b57bb284f982b49127a422b2f87cd12fe4ce1f23eb5f8031";
        assert!(tokens().verify(id, theirs));
        assert!(!tokens().verify("0198c0de-0000-7000-8000-000000000004", theirs), "it is bound to its identifier");
    }

    #[test]
    fn a_token_is_what_the_contract_says_byte_for_byte() {
        // Computed with Python: hmac.new(secret, b"3!abc!64!" + rnd, hashlib.sha256).hexdigest()
        let rnd = "00".repeat(32);
        assert_eq!(tokens().with_randomness("abc", &rnd), format!("{EXPECTED}.{rnd}"));
    }

    const EXPECTED: &str = "906a2adb1508d275b8a2cf1df9f24de5b0dcf7f023bf4db00e396d8a3cfdbf7a";

    #[test]
    fn sr_25_a_token_fits_its_identifier_only() {
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
    fn forged_cut_and_padded_tokens_are_refused() {
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
    fn a_token_of_a_former_secret_is_good_and_new_ones_are_made_with_the_first() {
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
