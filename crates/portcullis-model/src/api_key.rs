//! The form of API keys: `pk_`, 43 random characters of base62 (256 bits), and a checksum of six characters. With the
//! checksum a cut or mistyped key is refused without a look-up, and scanners for leaked secrets recognise a key.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::secret::sha256;
use crate::{ApiTime, Permission, Random, SecretString, SessionId, Timestamp};

/// The first characters of every key.
pub const PREFIX: &str = "pk_";
/// The number of random characters: 62^43 is more than 2^256.
const SECRET: usize = 43;
/// The number of characters of the checksum, a CRC-32 (ISO 3309) in base62.
const CHECKSUM: usize = 6;
/// The number of first characters of a key that its owner sees in lists.
const VISIBLE: usize = PREFIX.len() + 8;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An API key as its owner sees it. It contains neither the key itself nor its hash.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// The id of the key. Where sessions are kept and logged, it takes the place of a session id.
    pub id: SessionId,
    /// The name that its owner gave it.
    pub name: String,
    /// The first characters of the key, by which its owner recognises it.
    pub prefix: String,
    /// The permissions of its owner that the key has; `null` for all of them.
    pub scopes: Option<Vec<Permission>>,
    /// The time at which the key expires; `null` if it never does.
    #[serde(serialize_with = "optional_millis")]
    #[schemars(with = "Option<ApiTime>")]
    pub expires_at: Option<Timestamp>,
    /// The latest use of the key. It may be a minute old, because uses are written in batches.
    #[serde(serialize_with = "optional_millis")]
    #[schemars(with = "Option<ApiTime>")]
    pub last_used_at: Option<Timestamp>,
    /// The time at which the key was created.
    #[serde(serialize_with = "millis")]
    #[schemars(with = "ApiTime")]
    pub created_at: Timestamp,
}

fn millis<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    ApiTime(*at).serialize(to)
}

fn optional_millis<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    at.map(ApiTime).serialize(to)
}

/// Generates a new random key.
pub fn generate(random: &Random) -> SecretString {
    let mut key = String::from(PREFIX);
    while key.len() < PREFIX.len() + SECRET {
        for byte in random.bytes::<64>() {
            // 248 is four times the alphabet. The bytes above it would make some characters more likely than others.
            if byte < 248 && key.len() < PREFIX.len() + SECRET {
                key.push(char::from(ALPHABET[usize::from(byte % 62)]));
            }
        }
    }
    key.push_str(&checksum(&key));
    SecretString::new(key)
}

/// The first characters of a key, which lists show.
pub fn visible_prefix(key: &str) -> &str {
    key.get(..VISIBLE).unwrap_or_default()
}

/// The SHA-256 digest that a key is stored and looked up by; `None` if the text is not a well-formed key.
pub fn digest(key: &str) -> Option<[u8; 32]> {
    let well_formed = key.len() == PREFIX.len() + SECRET + CHECKSUM
        && key.starts_with(PREFIX)
        && key.bytes().skip(PREFIX.len()).all(|byte| byte.is_ascii_alphanumeric());
    let (body, sum) = key.split_at_checked(PREFIX.len() + SECRET)?;
    (well_formed && checksum(body) == sum).then(|| sha256(key.as_bytes()))
}

fn checksum(text: &str) -> String {
    let mut rest = crc32(text.as_bytes());
    let mut digits = [0u8; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// CRC-32, bit by bit: fifty bytes are not worth a table.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_standard_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn sr_20_a_key_has_256_random_bits_and_a_checked_form() {
        let random = Random::system();
        let (key, other) = (generate(&random), generate(&random));
        assert_ne!(key.expose(), other.expose());
        assert_eq!(key.expose().len(), 52);
        assert!(digest(key.expose()).is_some_and(|hash| hash == sha256(key.expose().as_bytes())));
        assert_eq!(visible_prefix(key.expose()).len(), 11);
        let text = key.expose();
        let swapped = format!("{}{}", &text[..10], text[10..].chars().rev().collect::<String>());
        for bad in ["", "pk_", &text[1..], &text[..51], &format!("{text}0"), &swapped, &text.replace("pk_", "sk_"), "é"]
        {
            assert_eq!(digest(bad), None, "{bad}");
        }
        let mut typo = text.as_bytes().to_vec();
        typo[20] = if typo[20] == b'a' { b'b' } else { b'a' };
        assert_eq!(digest(std::str::from_utf8(&typo).expect("ASCII")), None);
    }
}
