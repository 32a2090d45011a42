//! Rate limits: the rules, the keys they count, and the counting itself, in this process or by all replicas together.

pub(crate) mod arrival_times;
pub(crate) mod inspection;
pub(crate) mod key;
pub(crate) mod limiter;
pub(crate) mod rules;
pub(crate) mod state;
