//! The machine: disk and memory.

pub mod disk;
pub mod facts;
pub mod memory;
