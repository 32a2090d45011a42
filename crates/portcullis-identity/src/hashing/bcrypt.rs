//! Comparing bcrypt hashes in the format of OpenBSD's crypt(3).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use portcullis_model::secret::constant_time_eq;

use crate::hashing::notation::{HashRefused, decimal};

/// The accepted range of the cost, a binary logarithm (SR-08): 15 takes about two seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;
/// Bytes of a password that bcrypt uses.
const KEY_BYTES: usize = 72;
const HASH_BYTES: usize = 23;
/// Accepts unused bits in the last character, which some programs set.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// A stored hash within the accepted cost.
pub(crate) struct BcryptHash {
    /// Whether the hash is a `$2x$` one, made by a crypt_blowfish that treated bytes as signed.
    signed_bytes: bool,
    cost: u32,
    salt: [u8; 16],
    hash: [u8; HASH_BYTES],
}

impl BcryptHash {
    /// Parses `$2a$`, `$2b$`, `$2x$` or `$2y$`, a cost of two digits, a salt of 22 and a hash of 31 characters.
    pub(crate) fn parse(stored: &str) -> Result<Self, HashRefused> {
        let (signed_bytes, cost, salt, hash) = Self::split(stored).ok_or(HashRefused::Unknown)?;
        if cost > *COSTS.end() {
            return Err(HashRefused::TooExpensive);
        }
        Ok(Self { signed_bytes, cost, salt, hash })
    }

    fn split(stored: &str) -> Option<(bool, u32, [u8; 16], [u8; HASH_BYTES])> {
        let mut parts = stored.strip_prefix('$')?.split('$');
        let (Some(variant), Some(cost), Some(rest), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let signed_bytes = match variant {
            "2a" | "2b" | "2y" => false,
            "2x" => true,
            _ => return None,
        };
        let cost = decimal(cost).filter(|number| cost.len() == 2 && (*COSTS.start()..32).contains(number))?;
        let (salt, hash) = rest.split_at_checked(22)?;
        Some((
            signed_bytes,
            cost,
            BASE64.decode(salt).ok()?.try_into().ok()?,
            BASE64.decode(hash).ok()?.try_into().ok()?,
        ))
    }

    /// Compares a password. One with a NUL never matches: crypt(3) ends a password there, and bcrypt repeats its key
    /// with a NUL between, so that other passwords would match too.
    pub(crate) fn matches(&self, password: &str) -> bool {
        let key = if self.signed_bytes { signed_key(password.as_bytes()) } else { key(password.as_bytes()) };
        let out = ::bcrypt::bcrypt(self.cost, self.salt, &key);
        constant_time_eq(&out[..HASH_BYTES], &self.hash) && !password.contains('\0')
    }

    /// Whether bcrypt uses the whole password. The end of a longer one is not verified, so no new hash may be made
    /// from it.
    pub(crate) fn uses_all_of(password: &str) -> bool {
        password.len() <= KEY_BYTES
    }
}

/// The bcrypt key: the password and a NUL, cut to 72 bytes.
fn key(password: &[u8]) -> Vec<u8> {
    password.iter().copied().chain([0]).take(KEY_BYTES).collect()
}

/// The key of the older crypt_blowfish. It added each byte to a word as a signed number, so that a byte of 128 or more
/// overwrites the bytes before it in its word. bcrypt reads 18 words.
fn signed_key(password: &[u8]) -> Vec<u8> {
    let cycled: Vec<u8> = password.iter().copied().chain([0]).cycle().take(KEY_BYTES).collect();
    let (words, _) = cycled.as_chunks::<4>();
    let word = |bytes: &[u8; 4]| {
        bytes.iter().fold(0u32, |word, byte| (word << 8) | i32::from(byte.cast_signed()).cast_unsigned())
    };
    words.iter().flat_map(|bytes| word(bytes).to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(stored: &str, password: &str) -> bool {
        BcryptHash::parse(stored).expect("readable").matches(password)
    }

    #[test]
    fn hashes_of_other_programs_match_their_passwords_only() {
        for (stored, password) in [
            // The vectors of crypt_blowfish, the last two of its crypt(3).
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            ("$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"),
            ("$2y$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"),
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", ""),
            ("$2x$05$abcdefghijklmnopqrstuufPZEMxRsKOvQWdtkl5etWYgmaGdgpfy", "passääword"),
            ("$2y$05$abcdefghijklmnopqrstuuZeyl4siQeuD2q6/bNYpjthk9ikU.xsK", "passääword"),
        ] {
            assert!(matches(stored, password), "{stored}");
            assert!(!matches(stored, &format!("{password}x")), "{stored}");
        }
        assert!(!matches("$2x$05$abcdefghijklmnopqrstuuZeyl4siQeuD2q6/bNYpjthk9ikU.xsK", "passääword"), "not signed");
    }

    #[test]
    fn bcrypt_compares_72_bytes_and_longer_passwords_stay() {
        let stored = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
        let long = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        assert!(matches(stored, &format!("{long}chars after 72 are ignored")));
        assert!(matches(stored, long));
        assert!(!matches(stored, &long[..71]));
        assert!(BcryptHash::uses_all_of(long) && !BcryptHash::uses_all_of(&format!("{long}!")));
    }

    #[test]
    fn a_password_with_a_nul_matches_nothing() {
        let stored = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        for password in ["U*U\0", "U*U\0U*U", "U*U\0x", "\0"] {
            assert!(!matches(stored, password), "{password:?}");
        }
    }

    #[test]
    fn sr_08_bcrypt_cost_over_15_and_cut_hashes_are_refused() {
        let with = |cost: &str| format!("$2b${cost}$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
        assert!(BcryptHash::parse(&with("15")).is_ok());
        for cost in ["16", "31"] {
            assert_eq!(BcryptHash::parse(&with(cost)).err(), Some(HashRefused::TooExpensive));
        }
        for bad in [with("5"), with("03"), with("32"), with("+5"), with("05") + "x", with("05")[..59].to_owned()] {
            assert_eq!(BcryptHash::parse(&bad).err(), Some(HashRefused::Unknown), "{bad}");
        }
    }
}
