//! Why a secret store could not be read.

use portcullis_tls::AuthoritiesError;

use crate::aws::AwsError;
use crate::client::RequestError;
use crate::vault::VaultError;

/// Why a secret store could not be read. No message contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The certificate authorities cannot be used.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// The store gave no usable answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Vault refused, or its answer is not that of KV version 2.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// AWS refused, there are no credentials, or the secret has another form.
    #[error(transparent)]
    Aws(#[from] AwsError),
}

impl StoreError {
    /// How to fix it.
    pub fn hint(&self) -> String {
        match self {
            Self::Authorities(_) => {
                "name a readable file in PEM with secrets.vault.authorities, or leave it out for the system's"
                    .to_owned()
            }
            Self::Request(error) => error.hint(),
            Self::Vault(error) => error.hint(),
            Self::Aws(error) => error.hint(),
        }
    }

    /// Whether another try may succeed although nothing is mended: the store is gone, slow, sealed or overloaded.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Authorities(_) => false,
            Self::Request(error) => error.may_pass(),
            Self::Vault(error) => error.may_pass(),
            Self::Aws(error) => error.may_pass(),
        }
    }
}
