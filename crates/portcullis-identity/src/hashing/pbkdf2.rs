//! Comparing PBKDF2 hashes (RFC 8018) in the formats of PHC, passlib and Django.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2::{self, Algorithm, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::hashing::notation::{HashRefused, LEAST_HASH, decimal, parameters};

/// A digest and the accepted number of its iterations, which take one or two seconds (SR-08).
struct Digest {
    algorithm: Algorithm,
    /// Output of the digest in bytes; a longer hash consists of several blocks.
    bytes: usize,
    /// The most iterations, summed over all blocks.
    most: u64,
}

/// A stored hash within the accepted cost.
pub(crate) struct Pbkdf2Hash {
    algorithm: Algorithm,
    iterations: NonZeroU32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

struct Parts {
    digest: Digest,
    iterations: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Pbkdf2Hash {
    /// Parses `$pbkdf2-sha256$i=600000,l=32$salt$hash` (PHC), `$pbkdf2-sha256$600000$salt$hash` (passlib) or
    /// `pbkdf2_sha256$600000$salt$hash` (Django), and the same with sha512.
    pub(crate) fn parse(stored: &str) -> Result<Self, HashRefused> {
        let parts = if stored.starts_with('$') { split_dollar(stored) } else { split_django(stored) };
        let Parts { digest, iterations, salt, hash } = parts.ok_or(HashRefused::Unknown)?;
        let iterations = NonZeroU32::new(iterations).ok_or(HashRefused::Unknown)?;
        if hash.len() < LEAST_HASH {
            return Err(HashRefused::Unknown);
        }
        let blocks = u64::try_from(hash.len().div_ceil(digest.bytes)).unwrap_or(u64::MAX);
        if u64::from(iterations.get()).saturating_mul(blocks) > digest.most {
            return Err(HashRefused::TooExpensive);
        }
        Ok(Self { algorithm: digest.algorithm, iterations, salt, hash })
    }

    pub(crate) fn matches(&self, password: &str) -> bool {
        // Compares in constant time.
        pbkdf2::verify(self.algorithm, self.iterations, &self.salt, password.as_bytes(), &self.hash).is_ok()
    }
}

fn digest(name: &str) -> Option<Digest> {
    match name {
        "sha256" => Some(Digest { algorithm: PBKDF2_HMAC_SHA256, bytes: 32, most: 10_000_000 }),
        "sha512" => Some(Digest { algorithm: PBKDF2_HMAC_SHA512, bytes: 64, most: 2_000_000 }),
        _ => None,
    }
}

fn split_dollar(stored: &str) -> Option<Parts> {
    let mut parts = stored.strip_prefix("$pbkdf2-")?.split('$');
    let digest = digest(parts.next()?)?;
    let (Some(cost), Some(salt), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    // passlib writes a dot in place of a plus.
    let decode = |text: &str| STANDARD_NO_PAD.decode(text.replace('.', "+")).ok();
    let (salt, hash) = (decode(salt)?, decode(hash)?);
    let iterations = match decimal(cost) {
        Some(iterations) => iterations,
        None => {
            let [iterations, length] = parameters(cost, ["i", "l"])?;
            let whole = length.is_none_or(|length| usize::try_from(length) == Ok(hash.len()));
            iterations.filter(|_| whole)?
        }
    };
    Some(Parts { digest, iterations, salt, hash })
}

/// Parses Django's format, whose salt is text and used as its bytes.
fn split_django(stored: &str) -> Option<Parts> {
    let mut parts = stored.strip_prefix("pbkdf2_")?.split('$');
    let digest = digest(parts.next()?)?;
    let (Some(cost), Some(salt), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let hash = STANDARD.decode(hash).ok()?;
    Some(Parts { digest, iterations: decimal(cost)?, salt: salt.as_bytes().to_vec(), hash })
}
