//! Protection from cross-site request forgery: the token pair, and the origin of requests by cookie
//! (docs/contract.md, "CSRF").

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod presented_token;
pub(crate) mod same_site;
pub(crate) mod tokens;
