//! Rate limits as settings write them: `60/1m`, or `off`.

use std::fmt;
use std::time::Duration;

use crate::{InvalidInput, duration};

/// At most `limit` requests in any `period`, and at most `limit` at once (GCRA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// The number of requests, at least 1.
    pub limit: u32,
    /// The period, at least a second.
    pub period: Duration,
}

impl Rate {
    /// Parses `"N/duration"`. `"off"` gives `None`.
    pub fn parse(text: &str) -> Result<Option<Self>, InvalidInput> {
        if text == "off" {
            return Ok(None);
        }
        let reject = || InvalidInput::because("a rate limit is \"N/duration\" (60/1m, 100/15m) or \"off\"");
        let (limit, period) = text.split_once('/').ok_or_else(reject)?;
        if !limit.bytes().all(|b| b.is_ascii_digit()) {
            return Err(reject());
        }
        let limit = limit.parse::<u32>().ok().filter(|n| *n >= 1).ok_or_else(reject)?;
        let period = duration::parse_duration(period)?;
        if period.is_zero() {
            return Err(reject());
        }
        Ok(Some(Self { limit, period }))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.limit, self.period.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_period() {
        assert_eq!(Rate::parse("60/1m"), Ok(Some(Rate { limit: 60, period: Duration::from_secs(60) })));
        assert_eq!(Rate::parse("off"), Ok(None));
        for bad in ["", "60", "60/", "/1m", "0/1m", "60/0s", "-1/1m", "60/1m/2", "60 / 1m", "Off"] {
            assert!(Rate::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
