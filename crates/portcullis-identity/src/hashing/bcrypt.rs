//! bcrypt, as crypt(3) of OpenBSD and its relatives store it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use portcullis_model::secret::constant_time_eq;

use crate::hashing::stored::{HashRefused, decimal};

/// The least and the most of the cost's logarithm (SR-08): 15 takes about two seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;
/// What bcrypt sees of a password, in bytes.
const KEY_BYTES: usize = 72;
const HASH_BYTES: usize = 23;
/// Some writers leave bits over in the last character.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// A stored hash within the cost that is accepted.
pub(crate) struct BcryptHash {
    /// `$2x$`: made by a version of crypt_blowfish that took bytes as signed.
    signed_bytes: bool,
    cost: u32,
    salt: [u8; 16],
    hash: [u8; HASH_BYTES],
}

impl BcryptHash {
    /// `$2a$`, `$2b$`, `$2x$` or `$2y$`, two digits, 22 and 31 characters.
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

    /// A password with a NUL matches nothing: where the hash was made it would have ended there, and bcrypt
    /// repeats its key with a NUL between, so that others could be found to match.
    pub(crate) fn matches(&self, password: &str) -> bool {
        let key = if self.signed_bytes { signed_key(password.as_bytes()) } else { key(password.as_bytes()) };
        let out = ::bcrypt::bcrypt(self.cost, self.salt, &key);
        constant_time_eq(&out[..HASH_BYTES], &self.hash) && !password.contains('\0')
    }

    /// Whether bcrypt sees the password whole. Of a longer one it cannot say that the end is right, so that no other
    /// hash may be made from what was typed.
    pub(crate) fn sees_all_of(password: &str) -> bool {
        password.len() <= KEY_BYTES
    }
}

/// The password and a NUL, cut.
fn key(password: &[u8]) -> Vec<u8> {
    password.iter().copied().chain([0]).take(KEY_BYTES).collect()
}

/// The key as the older crypt_blowfish made it: each byte as a signed number into a word, so that one of 128 or more
/// wipes out those before it in its word. The 18 words are all that bcrypt reads.
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
        assert!(BcryptHash::sees_all_of(long) && !BcryptHash::sees_all_of(&format!("{long}!")));
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
