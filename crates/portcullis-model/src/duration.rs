//! Durations as settings write them: `30s`, `15m`, `24h`, `7d`; plain digits are seconds.

use std::time::Duration;

use crate::InvalidInput;

/// Parses a duration. Anything but digits with an optional `s`, `m`, `h` or `d` is refused.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidInput> {
    let reject = || {
        InvalidInput::because("a duration is digits, then s, m, h or d (30s, 15m, 24h, 7d); plain digits are seconds")
    };
    let (digits, unit) = match text.bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3_600),
        Some(b'd') => (&text[..text.len() - 1], 86_400),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(reject());
    }
    let seconds = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|n| *n <= MAX_SECONDS);
    seconds.map(Duration::from_secs).ok_or_else(|| InvalidInput::because("a duration is at most 36500d"))
}

/// The longest duration of a setting, a century: no date overflows by adding it.
const MAX_SECONDS: u64 = 36_500 * 86_400;

/// Deserialises a duration from text or from a number of seconds, for `#[serde(deserialize_with)]`.
pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Visitor;
    impl serde::de::Visitor<'_> for Visitor {
        type Value = Duration;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a duration such as \"30s\", \"15m\", \"24h\" or \"7d\"")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Duration, E> {
            parse_duration(text).map_err(E::custom)
        }
        fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Duration, E> {
            parse_duration(&seconds.to_string()).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Visitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_are_plain_seconds() {
        for (text, seconds) in [("45s", 45), ("15m", 900), ("24h", 86_400), ("7d", 604_800), ("3600", 3600), ("0", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn any_other_duration_is_refused() {
        for bad in [
            "",
            "s",
            "1w",
            "1.5h",
            "-1s",
            "1 h",
            " 1h",
            "h1",
            "1hh",
            "1H",
            "99999999999999999999s",
            "99999999999d",
            "١h",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
