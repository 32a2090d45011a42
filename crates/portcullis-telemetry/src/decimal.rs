//! Whole numbers as text, without the formatting machinery: metrics and access lines consist of numbers for a good part.

/// Appends a number.
pub(crate) fn push_number(text: &mut String, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.push_str(std::str::from_utf8(&digits[first..]).unwrap_or_default());
}

/// Appends the last `DIGITS` digits of a number, with zeros in front.
pub(crate) fn push_digits<const DIGITS: usize>(text: &mut String, mut number: u64) {
    let mut digits = [0_u8; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text.push_str(std::str::from_utf8(&digits).unwrap_or_default());
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
