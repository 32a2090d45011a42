//! The archive: a manifest, and after it the encrypted rows in blocks that are authenticated one by one.

mod blocks;
mod error;
mod keys;
mod manifest;
mod reader;
mod rows;
#[cfg(test)]
mod tests;
mod writer;

pub use error::ArchiveError;
pub use keys::ArchiveKeys;
pub use manifest::{Manifest, ManifestColumn, ManifestTable};
pub use reader::{ArchiveReader, Contents, Trust};
pub use rows::Record;
pub use writer::{ArchiveWriter, NewArchive};

/// The version of the format that this program writes.
pub(crate) const FORMAT: u32 = 1;
/// The oldest version that this program reads: that of the version before it, once there is one.
pub(crate) const OLDEST_FORMAT: u32 = 1;
