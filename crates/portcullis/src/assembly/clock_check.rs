//! Refuses a clock that is certainly wrong, as on a machine that has no clock of its own and no network yet: sessions and
//! tokens of that time would end, or never end, once the clock is set.

use portcullis_model::{Clock, Timestamp};

/// The day of the last release that `deploy/releases.toml` names: no build of this version is older. A test compares them.
const LAST_RELEASE: &str = "2026-11-28";

/// The clock shows a time before this program was made.
#[derive(Debug, thiserror::Error)]
#[error("the clock says {now}, which is before this version of Portcullis was made (after {LAST_RELEASE})")]
pub struct WrongClock {
    now: String,
}

impl WrongClock {
    /// How an operator can fix it.
    pub fn hint(&self) -> &'static str {
        "set the clock (`timedatectl set-ntp true`), and start after it: `After=time-sync.target` under systemd; with \
         PostgreSQL it is the clock of the database server that counts"
    }
}

/// Refuses a time before this program was made.
pub(crate) fn check_clock(clock: &Clock) -> Result<(), WrongClock> {
    let made: Timestamp = format!("{LAST_RELEASE}T00:00:00Z").parse().expect("the constant is a day");
    let now = clock.now();
    if now < made { Err(WrongClock { now: now.to_rfc3339() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_the_last_release_is_refused() {
        let clock = Clock::adjustable();
        assert!(check_clock(&clock).is_ok(), "tests run after the release");
        let beginning = clock.on_a_machine_ahead_by(-clock.unix_micros());
        let refused = check_clock(&beginning).expect_err("it is 1970");
        assert!(refused.to_string().contains("1970-01-01"), "{refused}");
    }

    #[test]
    fn the_day_of_the_last_release_is_that_of_the_list() {
        let list = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/releases.toml"));
        let list = list.expect("the list of releases exists");
        let mut days = list.lines().filter_map(|line| line.strip_prefix("date = "));
        assert_eq!(days.next_back(), Some(format!("{LAST_RELEASE:?}").as_str()));
    }
}
