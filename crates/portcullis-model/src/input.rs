//! Why a value from outside was not accepted.

/// A readable reason, written for the person who typed the value.
///
/// Shown to clients in `details.body` of a 400 (`Validation failed`), so it
/// never repeats the value itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidInput(pub String);

impl InvalidInput {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The known name closest to an unknown one, if it is close enough to be a typing slip.
pub fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(unknown, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn a_slip_is_recognised_and_a_different_word_is_not() {
        let known = ["listen", "trusted_proxies", "max_body"];
        assert_eq!(did_you_mean("trusted_proxys", known), Some("trusted_proxies"));
        assert_eq!(did_you_mean("lisen", known), Some("listen"));
        assert_eq!(did_you_mean("colour", known), None);
    }
}
