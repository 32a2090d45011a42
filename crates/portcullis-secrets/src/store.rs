//! The store that the settings name.

use std::time::Duration;

use portcullis_model::Clock;

use crate::aws::{Aws, AwsOptions};
use crate::vault::{Vault, VaultOptions};
use crate::{StoreError, StoredSecrets};

/// The store that the settings name, and the secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOptions {
    /// HashiCorp Vault, or OpenBao, which speaks the same API.
    Vault(VaultOptions),
    /// AWS Secrets Manager.
    Aws(AwsOptions),
}

/// A store of secrets.
pub struct SecretStore(Kind);

enum Kind {
    Vault(Box<Vault>),
    Aws(Box<Aws>),
}

impl SecretStore {
    /// Prepares a store. Nothing is sent yet.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read.
    pub fn new(options: &StoreOptions, clock: &Clock) -> Result<Self, StoreError> {
        Ok(Self(match options {
            StoreOptions::Vault(options) => Kind::Vault(Box::new(Vault::new(options)?)),
            StoreOptions::Aws(options) => Kind::Aws(Box::new(Aws::new(options, clock)?)),
        }))
    }

    /// Reads the secrets. Tokens and credentials are read anew each time, so that they can be replaced.
    ///
    /// # Errors
    /// When the store cannot be reached, refuses, or holds something else.
    pub async fn read(&self) -> Result<StoredSecrets, StoreError> {
        match &self.0 {
            Kind::Vault(vault) => vault.read().await,
            Kind::Aws(aws) => aws.read().await,
        }
    }

    /// Keeps the access to the store alive: renews a token of Vault that can be renewed and has passed half of its life.
    /// Returns within what time it must be called again, if that is known.
    ///
    /// # Errors
    /// When the token cannot be renewed.
    pub async fn keep_alive(&self) -> Result<Option<Duration>, StoreError> {
        match &self.0 {
            Kind::Vault(vault) => vault.keep_token_alive().await,
            Kind::Aws(_) => Ok(None),
        }
    }

    /// What is known about the end of the access to the store, without changing it.
    pub(crate) async fn token(&self) -> Option<crate::vault::TokenState> {
        match &self.0 {
            Kind::Vault(vault) => vault.token_state().await.ok(),
            Kind::Aws(_) => None,
        }
    }
}
