//! Why an encrypted file cannot be opened.

use std::io;

/// Why a file in the format of age cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// The header is not one of age, version 1.
    #[error("the encrypted part does not begin with a header of age")]
    Header,
    /// The file is encrypted to other recipients than the identities at hand.
    #[error("none of the identities opens it")]
    NoIdentity,
    /// The header's code is wrong, or a chunk was changed, moved or cut off.
    #[error("the encrypted part was changed or cut off")]
    Altered,
}

impl From<AgeError> for io::Error {
    fn from(error: AgeError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
