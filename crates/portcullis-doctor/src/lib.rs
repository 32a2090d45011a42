//! `portcullis doctor`: runs checks side by side, each within its own time, checks the machine itself, and
//! puts a support bundle together.
//!
//! What the gateway depends on is checked by the crate that uses it (database, Redis, mail, upstreams). This crate knows
//! neither them nor the settings: it receives checks and values.

mod bundle;
mod checkup;
mod machine;

pub use bundle::{Bundle, HIDDEN};
pub use checkup::{Check, run};
pub use machine::{GroupMemory, disk, facts, group_memory, memory};
