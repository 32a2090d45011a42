//! Diagnosis for operators: why the gate lets a request through or refuses it, and the state of rate limits.

pub(crate) mod explain;
pub(crate) mod rate_limits;
pub(crate) mod refusals;
