//! Secrets. Their `Debug` output is redacted, and their memory is wiped when they are dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A text that is never printed and is wiped from memory when it is dropped.
#[derive(Clone, Default)]
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Takes ownership of a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Each caller must make sure that it is not logged or stored.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<'de> serde::Deserialize<'de> for SecretString {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Bytes that are never printed and are wiped from memory when they are dropped.
#[derive(Clone, Default)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes ownership of secret bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes themselves. Each caller must make sure that they are not logged or stored.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Compares two secrets in a time that depends on their lengths only, so that it does not leak their content.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// The SHA-256 digest. Bearer secrets are stored and looked up by it.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 is 32 bytes")
}

/// The secrets of one purpose. The current one signs or seals; the former ones still verify or open what they made, so
/// that a secret can be replaced without breaking anything.
#[derive(Clone, Debug)]
pub struct SecretRing {
    current: SecretString,
    former: Vec<SecretString>,
}

impl SecretRing {
    /// Takes the secrets, the current one first. `None` if there are none.
    pub fn new(secrets: Vec<SecretString>) -> Option<Self> {
        let mut secrets = secrets.into_iter();
        Some(Self { current: secrets.next()?, former: secrets.collect() })
    }

    /// The secret that signs or seals.
    pub fn current(&self) -> &SecretString {
        &self.current
    }

    /// All secrets, the current one first.
    pub fn iter(&self) -> impl Iterator<Item = &SecretString> {
        std::iter::once(&self.current).chain(&self.former)
    }
}

impl From<SecretString> for SecretRing {
    fn from(current: SecretString) -> Self {
        Self { current, former: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sr_26_secrets_compare_by_value_and_never_print() {
        assert!(constant_time_eq(b"same", b"same"));
        assert!(!constant_time_eq(b"same", b"samf"));
        assert!(!constant_time_eq(b"same", b"sam"));
        assert_eq!(format!("{:?}", SecretString::new("hunter2")), "[redacted]");
        assert_eq!(format!("{:?}", SecretBytes::new(*b"hunter2")), "[redacted]");
    }
}
