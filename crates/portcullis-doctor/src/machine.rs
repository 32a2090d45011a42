//! The machine: disk and memory.

pub mod disk;
pub mod memory;
