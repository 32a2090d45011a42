//! X25519 keys as age writes them: recipients (`age1…`) and identities (`AGE-SECRET-KEY-1…`).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use bech32::{Bech32, Hrp};
use portcullis_model::{Random, SecretBytes};

/// Bytes of a public key, a private key and a shared secret of X25519.
pub(super) const KEY_BYTES: usize = 32;

const RECIPIENT_PREFIX: &str = "age";
const IDENTITY_PREFIX: &str = "age-secret-key-";

/// A public key to which archives are encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Recipient(pub(super) [u8; KEY_BYTES]);

/// A private key that opens what is encrypted to its [`Recipient`].
#[derive(Clone, Debug)]
pub struct Identity(SecretBytes);

/// Why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The text is not a recipient.
    #[error("a recipient is the public key that `age-keygen` prints: age1 and 58 letters and digits")]
    Recipient,
    /// The text is a private key where a public one belongs.
    #[error("this is a private key; a recipient is the public key that `age-keygen` prints: age1…")]
    PrivateForPublic,
    /// The text is not an identity.
    #[error("an identity file has lines as `age-keygen` writes them: AGE-SECRET-KEY-1…")]
    Identity,
}

impl FromStr for Recipient {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        match decode(text) {
            Some((RECIPIENT_PREFIX, key)) => Ok(Self(key)),
            Some((IDENTITY_PREFIX, _)) => Err(InvalidKey::PrivateForPublic),
            _ => Err(InvalidKey::Recipient),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = Hrp::parse(RECIPIENT_PREFIX).expect("the prefix is valid");
        f.write_str(&bech32::encode::<Bech32>(prefix, &self.0).expect("32 bytes are within the limit"))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Identity {
    /// Makes a new identity.
    pub fn generate(random: &Random) -> Self {
        Self::of(random.bytes())
    }

    /// Takes a key that was derived from a secret.
    pub(crate) fn of(key: [u8; KEY_BYTES]) -> Self {
        Self(SecretBytes::new(key))
    }

    /// Reads the file that `age-keygen` writes: an identity a line, between comments.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, InvalidKey> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identities = lines.map(|line| match decode(line) {
            Some((IDENTITY_PREFIX, key)) => Ok(Self::of(key)),
            _ => Err(InvalidKey::Identity),
        });
        let identities = identities.collect::<Result<Vec<_>, _>>()?;
        if identities.is_empty() { Err(InvalidKey::Identity) } else { Ok(identities) }
    }

    /// Returns the public key to which a file is encrypted for this identity.
    pub fn to_recipient(&self) -> Recipient {
        let public = self.private_key().compute_public_key().expect("every X25519 private key has a public key");
        Recipient(public.as_ref().try_into().expect("a public key of X25519 has 32 bytes"))
    }

    /// Returns the secret that this key shares with a public one; `None` for one of the few public keys that share the
    /// same secret with everybody (RFC 7748 §6.1).
    pub(super) fn agree(&self, public: &[u8; KEY_BYTES]) -> Option<SecretBytes> {
        let public = UnparsedPublicKey::new(&X25519, public);
        agree(&self.private_key(), public, (), |secret| Ok(SecretBytes::new(secret))).ok()
    }

    fn private_key(&self) -> PrivateKey {
        PrivateKey::from_private_key(&X25519, self.0.expose()).expect("any 32 bytes are a private key of X25519")
    }
}

/// Reads a Bech32 text (BIP 173) of 32 bytes; its prefix is returned in small letters.
fn decode(text: &str) -> Option<(&'static str, [u8; KEY_BYTES])> {
    // Any of its checksums would do for the crate; age uses the older one.
    let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32>(text.trim()).ok()?;
    let prefix = [RECIPIENT_PREFIX, IDENTITY_PREFIX]
        .into_iter()
        .find(|prefix| checked.hrp().as_str().eq_ignore_ascii_case(prefix))?;
    let mut key = [0; KEY_BYTES];
    let mut bytes = checked.byte_iter();
    for byte in &mut key {
        *byte = bytes.next()?;
    }
    bytes.next().is_none().then_some((prefix, key))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A pair that `age-keygen` 1.1.1 made.
    const PUBLIC: &str = "age1wyzepwec9wnlekd36nd5zexgemtjuf683qpsr5v2qggg6tzfvghq7l3qft";
    pub(in crate::age) const PRIVATE: &str =
        "AGE-SECRET-KEY-1S342YF3TUEXK486TKNZZLPT7RP2YER7TRZ7X8WAX0QPH04C2FGQSJDUQFX";

    #[test]
    fn keys_are_those_of_age() {
        let identities = Identity::parse_file(&format!("# created: 2026\n\n{PRIVATE}\n")).expect("one identity");
        assert_eq!(identities[0].to_recipient().to_string(), PUBLIC);
        assert_eq!(PUBLIC.parse::<Recipient>().expect("a recipient"), identities[0].to_recipient());
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        for text in ["", "age1", "age1wyzepwec9wnlekd36nd5zexgemtjuf683qpsr5v2qggg6tzfvghq7l3qfs", "ssh-ed25519 AAAA"] {
            assert_eq!(text.parse::<Recipient>(), Err(InvalidKey::Recipient), "{text}");
        }
        assert_eq!(PRIVATE.parse::<Recipient>(), Err(InvalidKey::PrivateForPublic));
        assert_eq!(Identity::parse_file(PUBLIC).map(|_| ()), Err(InvalidKey::Identity));
        assert_eq!(Identity::parse_file("# nothing\n").map(|_| ()), Err(InvalidKey::Identity));
    }

    #[test]
    fn sr_26_an_identity_is_not_printed() {
        let identity = Identity::generate(&Random::system());
        assert_eq!(format!("{identity:?}"), "Identity([redacted])");
    }
}
