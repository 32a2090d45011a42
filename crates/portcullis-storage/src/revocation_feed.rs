//! The revocation feed: what other replicas have appended to the revocation log.

mod listen;
mod reading;

pub use reading::LogPosition;
