//! The CSRF rules of a configuration.

use crate::csrf::tokens::CsrfTokens;

/// The CSRF rules of one configuration (`[csrf]`).
#[derive(Debug)]
pub struct CsrfConfig {
    /// Issues and verifies tokens.
    pub tokens: CsrfTokens,
    /// The requests that need a token.
    pub mode: CsrfMode,
}

/// Which unsafe requests need a CSRF token (`csrf.mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CsrfMode {
    /// Every unsafe request needs one.
    #[default]
    Always,
    /// Only requests with the session cookie need one.
    Cookie,
    /// Every unsafe request needs one, but a request without it is only logged and counted. It shows what `Always`
    /// would refuse.
    Report,
}
