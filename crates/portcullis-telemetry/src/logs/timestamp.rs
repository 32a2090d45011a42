//! The time of a log line.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::decimal::push_digits;

const SECONDS_PER_DAY: u64 = 86_400;

thread_local! {
    /// The second that this thread wrote last, since 1970, and its date and time of day.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

/// Appends the system's time, RFC 3339 in UTC with microseconds.
pub(super) fn push_now(line: &mut String) {
    #[expect(
        clippy::disallowed_methods,
        reason = "log lines show the machine's time, also where the database's is another"
    )]
    let now = SystemTime::now();
    push(line, now.duration_since(UNIX_EPOCH).unwrap_or_default());
}

/// Appends a time that is given as the time since 1970.
fn push(line: &mut String, since_1970: Duration) {
    let (mut known, mut text) = SECOND.get();
    if known != since_1970.as_secs() {
        known = since_1970.as_secs();
        text = text_of(known);
        SECOND.set((known, text));
    }
    line.push_str(std::str::from_utf8(&text).unwrap_or_default());
    line.push('.');
    push_digits::<6>(line, since_1970.subsec_micros().into());
    line.push('Z');
}

/// Date and time of day.
fn text_of(second_since_1970: u64) -> [u8; 19] {
    let (year, month, day) = date(second_since_1970 / SECONDS_PER_DAY);
    let second = second_since_1970 % SECONDS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00";
    let numbers = [year / 100, year, month, day, second / 3600, second / 60 % 60, second % 60];
    for (place, number) in [0, 2, 5, 8, 11, 14, 17].into_iter().zip(numbers) {
        text[place] += (number / 10 % 10) as u8;
        text[place + 1] += (number % 10) as u8;
    }
    text
}

/// Year, month and day of a day since 1970, in the proleptic Gregorian calendar. Years begin in March here, so that the
/// leap day is the last day of a year; an era has 400 years (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        for (seconds, micros, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (0, 70, "1970-01-01T00:00:00.000070Z"),
            (951_782_399, 999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000001Z"),
            (1_709_164_800, 20, "2024-02-29T00:00:00.000020Z"),
            (1_735_689_599, 0, "2024-12-31T23:59:59.000000Z"),
            (1_795_772_804, 512_204, "2026-11-27T09:46:44.512204Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        ] {
            let mut line = String::new();
            push(&mut line, Duration::new(seconds, micros * 1000));
            assert_eq!(line, text);
        }
    }
}
