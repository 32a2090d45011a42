//! The Portcullis binary: commands, wiring, shutdown.

pub mod commands;
pub mod serve;
