//! The Portcullis binary: commands, settings, wiring, shutdown.
