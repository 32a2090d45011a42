//! What the formats of stored hashes have in common: their parameters, and why one is refused.

/// The shortest accepted output of a hash, in bytes: a shorter one matches too many passwords, an empty one all.
pub(crate) const LEAST_HASH: usize = 16;

/// Why a stored hash is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashRefused {
    /// The text is in no supported format, or is incomplete.
    #[error("it is not a complete argon2, bcrypt, scrypt or PBKDF2 hash")]
    Unknown,
    /// Comparing a password with it would take too much time or memory.
    #[error("comparing a password with it would take too much time or memory")]
    TooExpensive,
}

/// Parses comma-separated `name=value` pairs with known names and numeric values.
pub(crate) fn parameters<const N: usize>(text: &str, names: [&str; N]) -> Option<[Option<u32>; N]> {
    let mut found = [None; N];
    for pair in text.split(',') {
        let (name, value) = pair.split_once('=')?;
        let place = names.iter().position(|known| *known == name)?;
        if found[place].replace(decimal(value)?).is_some() {
            return None;
        }
    }
    Some(found)
}

/// Parses a number that consists of digits only.
pub(crate) fn decimal(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_and_given_once() {
        assert_eq!(parameters("r=8,ln=16", ["ln", "r"]), Some([Some(16), Some(8)]));
        assert_eq!(parameters("ln=16", ["ln", "r"]), Some([Some(16), None]));
        for bad in ["ln=16,ln=16", "x=1", "ln=", "ln=+1", "ln=-1", "ln", "", "ln=99999999999"] {
            assert_eq!(parameters(bad, ["ln", "r"]), None, "{bad}");
        }
    }
}
