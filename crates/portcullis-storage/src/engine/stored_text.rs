//! Free text from outside, made fit for a column: bounded, and without characters that an engine refuses.

use portcullis_telemetry::logs::redacted;

/// Longest stored user agent, in characters.
const USER_AGENT_LENGTH: usize = 512;
/// Longest stored error message, in characters.
const ERROR_LENGTH: usize = 1000;

/// Returns a `User-Agent` header cut to 512 characters, without control characters (PostgreSQL refuses NUL).
pub(crate) fn user_agent(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(USER_AGENT_LENGTH).collect()
}

/// Returns an error message cut to 1,000 characters, without NUL and without what may be a secret (SR-47).
pub(crate) fn error_message(text: &str) -> String {
    redacted(text).chars().filter(|c| *c != '\0').take(ERROR_LENGTH).collect()
}
