//! What a check of `portcullis doctor` finds. Each crate checks what it depends on and reports it in these words.

use serde::Serialize;

/// Whether something is in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It works, and nothing needs to be done.
    Pass,
    /// It works, and an operator should look at it.
    Warn,
    /// It does not work, or will not for long.
    Fail,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check, such as `database.version`.
    pub check: String,
    /// Whether it is in order.
    pub status: Status,
    /// What was found, in a sentence without secrets.
    pub found: String,
    /// How to fix it, in a sentence; `None` if there is nothing to fix.
    pub hint: Option<String>,
    /// What helps to find the cause, a line each, such as the transcript of a conversation. It holds no secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl Finding {
    /// Makes a finding of something that is in order.
    pub fn pass(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Status::Pass, found, None)
    }

    /// Makes a finding that an operator should look at.
    pub fn warn(check: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(check, Status::Warn, found, Some(hint.into()))
    }

    /// Makes a finding of something that does not work.
    pub fn fail(check: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(check, Status::Fail, found, Some(hint.into()))
    }

    /// Makes a finding of an error and its causes. A cause that the text before it contains is left out.
    pub fn error(check: impl Into<String>, error: &dyn std::error::Error, hint: Option<String>) -> Self {
        Self::new(check, Status::Fail, with_causes(error), hint)
    }

    /// Adds lines that help to find the cause.
    #[must_use]
    pub fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    fn new(check: impl Into<String>, status: Status, found: impl Into<String>, hint: Option<String>) -> Self {
        Self { check: check.into(), status, found: found.into(), hint, details: Vec::new() }
    }
}

/// Returns the text of an error with those of its causes.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_status_is_the_greatest() {
        assert_eq!([Status::Warn, Status::Fail, Status::Pass].into_iter().max(), Some(Status::Fail));
    }

    #[test]
    fn a_cause_that_the_text_contains_is_left_out() {
        let inner = std::io::Error::other("the disk is full");
        assert_eq!(with_causes(&std::io::Error::other(inner)), "the disk is full");
    }
}
