//! The field `Keep-Alive` (RFC 2068 §19.7.1.1), by which servers announce when they close an idle connection.

use std::time::Duration;

/// How much earlier than announced the gateway stops using a connection. A request and the server's close could cross.
const MARGIN: Duration = Duration::from_secs(1);

/// What a server announces of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// The connection is not to be used again.
    Over,
    /// It may be used after an idle time of at most this.
    Idle(Duration),
    /// Nothing.
    Nothing,
}

/// Reads the value of the field. Parameters that are unknown or not numbers are ignored.
pub(super) fn announced(value: &[u8]) -> Announced {
    let mut announced = Announced::Nothing;
    for parameter in value.split(|byte| matches!(byte, b',' | b';')) {
        let Some((name, number)) = std::str::from_utf8(parameter).ok().and_then(|text| text.split_once('=')) else {
            continue;
        };
        let Ok(number) = number.trim().trim_matches('"').parse::<u32>() else { continue };
        let name = name.trim();
        if name.eq_ignore_ascii_case("timeout") {
            let timeout = Duration::from_secs(number.into());
            // Half of a very short time is left.
            announced = Announced::Idle(timeout.saturating_sub(MARGIN).max(timeout / 2));
        } else if name.eq_ignore_ascii_case("max") && number <= 1 {
            // Some servers count the request that was just answered, others do not.
            return Announced::Over;
        }
        if announced == Announced::Idle(Duration::ZERO) {
            return Announced::Over;
        }
    }
    announced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_time_is_used_with_a_margin() {
        for (value, milliseconds) in [
            ("timeout=5", 4000),
            ("Timeout = 5, max=100", 4000),
            ("max=100,timeout=75", 74_000),
            ("timeout=2", 1000),
            ("timeout=1", 500),
            ("timeout=\"5\"", 4000),
        ] {
            let idle = Announced::Idle(Duration::from_millis(milliseconds));
            assert_eq!(announced(value.as_bytes()), idle, "{value}");
        }
    }

    #[test]
    fn a_connection_without_time_or_requests_left_is_over() {
        for value in ["timeout=0", "max=1", "max=0", "timeout=5, max=1", "max=1, timeout=5", "timeout=0, max=9"] {
            assert_eq!(announced(value.as_bytes()), Announced::Over, "{value}");
        }
    }

    #[test]
    fn what_is_not_understood_announces_nothing() {
        for value in ["", "timeout", "timeout=", "timeout=soon", "timeout=-1", "max=many", "300", "=5", "\u{e9}=1"] {
            assert_eq!(announced(value.as_bytes()), Announced::Nothing, "{value}");
        }
    }
}
