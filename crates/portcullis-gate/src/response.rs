//! What every response gets on its way out, whether it is a refusal, a built-in endpoint's or an upstream's.

pub(crate) mod cors;
pub(crate) mod plan;
pub(crate) mod rate_limit_headers;
pub(crate) mod security_headers;
pub(crate) mod version_headers;
