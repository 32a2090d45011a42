//! Whole numbers as text, without the formatting machinery: metrics and access lines consist of numbers for a good part.

/// The numbers from 00 to 99. Parts of a text need not be checked to be UTF-8, as new bytes must.
const PAIRS: &str = "\
    0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
    5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/// Appends a number.
pub(crate) fn push_number(text: &mut String, number: u64) {
    match number {
        0..10 => text.push_str(&pair(number)[1..]),
        10..100 => text.push_str(pair(number)),
        _ => {
            push_number(text, number / 100);
            text.push_str(pair(number % 100));
        }
    }
}

/// Appends the last `DIGITS` digits of a number, with zeros in front.
pub(crate) fn push_digits<const DIGITS: usize>(text: &mut String, number: u64) {
    let mut unit = 10_u64.pow(DIGITS as u32);
    let mut rest = number % unit;
    if DIGITS % 2 == 1 {
        unit /= 10;
        text.push_str(&pair(rest / unit)[1..]);
        rest %= unit;
    }
    while unit > 1 {
        unit /= 100;
        text.push_str(pair(rest / unit));
        rest %= unit;
    }
}

/// Two digits of a number below 100.
#[inline]
fn pair(number: u64) -> &'static str {
    let begin = 2 * number as usize;
    &PAIRS[begin..begin + 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(push: fn(&mut String, u64), number: u64) -> String {
        let mut text = String::new();
        push(&mut text, number);
        text
    }

    #[test]
    fn numbers_are_written_with_every_digit() {
        for (number, text) in [(0, "0"), (7, "7"), (10, "10"), (u64::MAX, "18446744073709551615")] {
            assert_eq!(written(push_number, number), text);
        }
    }

    #[test]
    fn digits_have_zeros_in_front() {
        for (number, text) in [(0, "000"), (7, "007"), (120, "120"), (1999, "999")] {
            assert_eq!(written(push_digits::<3>, number), text);
        }
    }
}
