//! `portcullis doctor`: runs checks side by side, each within its own time, and checks the machine itself.
//!
//! What the gateway depends on is checked by the crate that uses it (database, Redis, mail, upstreams). This crate knows
//! neither them nor the settings: it receives checks and values.

mod checkup;
mod machine;

pub use checkup::{Check, run};
pub use machine::{disk, memory};
