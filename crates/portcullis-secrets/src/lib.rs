//! The secrets of an installation, read from HashiCorp Vault (KV version 2) or AWS Secrets Manager over their HTTP APIs.
//!
//! A store holds one secret for an installation: a JSON object whose names are those of environment variables. This crate
//! reads it and knows neither settings nor what a value is for. It keeps nothing: the caller decides when to read again,
//! and what to do when a store cannot be read.

mod aws;
mod client;
mod diagnosis;
mod error;
mod store;
mod stored;
mod vault;

#[cfg(test)]
mod testing;

pub use aws::{AwsError, AwsOptions, CredentialSource, RoleCredentials};
pub use client::RequestError;
pub use diagnosis::diagnose;
pub use error::StoreError;
pub use store::{SecretStore, StoreOptions};
pub use stored::{StoredSecrets, StoredValue};
pub use vault::{SecretPath, VaultError, VaultOptions};
