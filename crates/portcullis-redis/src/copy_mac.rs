//! The message authentication code of session copies: whoever may write to Redis cannot make a copy that is accepted.

use arc_swap::ArcSwap;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use portcullis_model::SecretRing;

/// The purpose for which keys are derived.
const PURPOSE: &[u8] = b"session copy in Redis";

/// HMAC-SHA256 under keys derived from ENCRYPTION_KEY by HKDF-SHA256 (RFC 5869).
pub(crate) struct CopyMac(ArcSwap<Vec<hmac::Key>>);

impl CopyMac {
    pub(crate) fn new(secrets: &SecretRing) -> Self {
        Self(ArcSwap::from_pointee(keys(secrets)))
    }

    /// Replaces the secrets. The first one signs, all of them verify.
    pub(crate) fn replace(&self, secrets: &SecretRing) {
        self.0.store(keys(secrets).into());
    }

    /// Puts the code of `text` in front of it. The code holds under this name in Redis only.
    pub(crate) fn sign(&self, name: &str, text: &str) -> String {
        let keys = self.0.load();
        let key = keys.first().expect("a ring of secrets has at least one");
        format!("{}.{text}", hex::encode(hmac::sign(key, &message(name, text))))
    }

    /// Returns the text behind the code if the code is right.
    pub(crate) fn verify<'a>(&self, name: &str, signed: &'a str) -> Option<&'a str> {
        let (code, text) = signed.split_once('.')?;
        let (code, message) = (hex::decode(code).ok()?, message(name, text));
        self.0.load().iter().any(|key| hmac::verify(key, &message, &code).is_ok()).then_some(text)
    }
}

fn keys(secrets: &SecretRing) -> Vec<hmac::Key> {
    let derive = |secret: &portcullis_model::SecretString| {
        let extracted = Salt::new(HKDF_SHA256, b"portcullis").extract(secret.expose().as_bytes());
        let info = [PURPOSE];
        hmac::Key::from(extracted.expand(&info, hmac::HMAC_SHA256).expect("one block is always available"))
    };
    secrets.iter().map(derive).collect()
}

/// The length in front keeps the end of the name apart from the beginning of the text.
fn message(name: &str, text: &str) -> Vec<u8> {
    [&(name.len() as u64).to_be_bytes()[..], name.as_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use portcullis_model::SecretString;

    use super::*;

    fn ring(secrets: &[&str]) -> SecretRing {
        SecretRing::new(secrets.iter().map(|&secret| SecretString::new(secret)).collect()).expect("at least one")
    }

    #[test]
    fn sr_60_a_code_holds_for_its_name_text_and_key_only() {
        let mac = CopyMac::new(&ring(&["an old key of at least 32 bytes....."]));
        let signed = mac.sign("name", "text.with.dots");
        assert_eq!(mac.verify("name", &signed), Some("text.with.dots"));
        assert_eq!(mac.verify("nam", &signed.replace(".text", ".etext")), None, "another split of name and text");
        for (name, signed) in [("other", signed.clone()), ("name", format!("{signed} ")), ("name", "text".to_owned())] {
            assert_eq!(mac.verify(name, &signed), None, "{name} {signed}");
        }
        assert_eq!(CopyMac::new(&ring(&["a different key of at least 32 bytes"])).verify("name", &signed), None);
        mac.replace(&ring(&["a new key of at least 32 bytes......", "an old key of at least 32 bytes....."]));
        assert_eq!(mac.verify("name", &signed), Some("text.with.dots"));
        assert_ne!(mac.sign("name", "text.with.dots"), signed);
    }
}
