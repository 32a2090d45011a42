//! The machine: disk and memory.

mod control_group;
pub mod disk;
pub mod facts;
pub mod memory;

pub use control_group::{GroupMemory, group_memory};
