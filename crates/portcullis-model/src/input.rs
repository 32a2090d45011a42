//! Reasons why a value from outside is refused.

/// The reason why a value is refused, written for the user or operator who typed it.
///
/// Clients see it in `details.body` of a 400 (`Validation failed`), so it never repeats the value itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidInput(pub String);

impl InvalidInput {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The known name that is closest to an unknown one, if the difference may be a typing error.
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
    fn a_typing_error_is_recognised_and_another_word_is_not() {
        let known = ["listen", "trusted_proxies", "max_body"];
        assert_eq!(did_you_mean("trusted_proxys", known), Some("trusted_proxies"));
        assert_eq!(did_you_mean("lisen", known), Some("listen"));
        assert_eq!(did_you_mean("colour", known), None);
    }
}
