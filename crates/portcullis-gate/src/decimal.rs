//! Whole numbers as text. `format!` costs several times as much, and most requests need some.

const MAX_DIGITS: usize = 20;

/// The digits of a number.
pub(crate) struct Decimal {
    digits: [u8; MAX_DIGITS],
    first: usize,
}

impl Decimal {
    pub(crate) fn of(mut number: u64) -> Self {
        let mut digits = [0; MAX_DIGITS];
        let mut first = MAX_DIGITS;
        loop {
            first -= 1;
            digits[first] = b'0' + u8::try_from(number % 10).expect("a digit");
            number /= 10;
            if number == 0 {
                return Self { digits, first };
            }
        }
    }

    pub(crate) fn digits(&self) -> &[u8] {
        &self.digits[self.first..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_every_digit_and_no_other() {
        for number in [0, 7, 10, 4096, u64::MAX] {
            assert_eq!(Decimal::of(number).digits(), number.to_string().as_bytes());
        }
    }
}
