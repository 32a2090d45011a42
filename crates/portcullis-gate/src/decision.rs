//! The decision on a request: the phases in their order, what they do beside deciding, and their outcome.

pub(crate) mod authorise;
pub(crate) mod context;
pub(crate) mod description;
pub(crate) mod dry_run;
pub(crate) mod effects;
pub(crate) mod permit;
pub(crate) mod phase;
pub(crate) mod phases;
pub(crate) mod refusal;
pub(crate) mod refusal_log;
pub(crate) mod verdict;
