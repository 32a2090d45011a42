//! The Portcullis binary: commands, settings, wiring, shutdown.

pub mod commands;
pub mod serve;
pub mod settings;
