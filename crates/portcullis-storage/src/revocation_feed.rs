//! The revocation feed: what other replicas have appended to the revocation log.

mod listen;
mod position;
mod reading;

pub use position::{LogPosition, LogReading};
