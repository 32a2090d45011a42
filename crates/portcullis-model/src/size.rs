//! Sizes as settings write them: digits (bytes), or digits with `KB`, `MB` or `GB`.

use crate::InvalidInput;

/// Parses a size into bytes. `KB`, `MB` and `GB` are powers of 1024, as in the body limits of common gateways.
pub fn parse_size(text: &str) -> Result<u64, InvalidInput> {
    let (digits, unit) = match text {
        _ if text.ends_with("KB") => (&text[..text.len() - 2], 1u64 << 10),
        _ if text.ends_with("MB") => (&text[..text.len() - 2], 1 << 20),
        _ if text.ends_with("GB") => (&text[..text.len() - 2], 1 << 30),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidInput::because("a size is digits (bytes), or digits with KB, MB or GB (100MB)"));
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit))
        .ok_or_else(|| InvalidInput::because("a size is at most 2^64 bytes"))
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_are_bytes_or_have_units_of_1024() {
        for (text, bytes) in
            [("0", 0), ("1000", 1000), ("64KB", 65_536), ("100MB", 104_857_600), ("1GB", 1_073_741_824)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MB", "1mb", "1 MB", "-1", "1.5MB", "1TB", "99999999999999999999", "99999999999999GB"] {
            assert!(parse_size(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
