//! The Portcullis binary: commands, assembly, start and shutdown.

pub mod assembly;
pub mod commands;
mod doctor;
mod secret_store;
pub mod serve;
