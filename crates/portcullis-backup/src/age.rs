//! Encryption in the format of age (`age-encryption.org/v1`), with X25519 recipients, over AWS-LC.
//!
//! What is written here opens with the programs `age` and `rage`, and the other way round. Only what archives need is
//! supported: no passphrases, no SSH keys, no plugins. [Decision 0007](../../../docs/decisions/0007-age.md) says why
//! this is not the crate `age`.

mod error;
mod header;
mod keys;
mod payload;

pub use error::AgeError;
pub use keys::{Identity, InvalidKey, Recipient};
pub(crate) use payload::{Decryptor, Encryptor};
