//! Reads an archive.

use std::io::{BufReader, Read};

use zstd::stream::read::Decoder;

use super::blocks::{BLOCK_BYTES, BlockReader};
use super::error::ArchiveError;
use super::keys::ArchiveKeys;
use super::manifest::{self, Manifest};
use super::rows::{Record, RecordReader};
use super::writer::WINDOW_LOG;
use crate::age::{AgeError, Decryptor, Identity};

/// What an archive is believed under.
#[derive(Clone, Copy)]
pub enum Trust<'k> {
    /// Nothing is believed that was not authenticated under one of these keys.
    Keys(&'k ArchiveKeys),
    /// Everything is believed. Only accidents are noticed.
    Nothing,
}

/// An archive whose manifest was read, and authenticated unless [`Trust::Nothing`] was asked for.
pub struct ArchiveReader<R> {
    input: R,
    manifest: Manifest,
    code_key: Option<aws_lc_rs::hmac::Key>,
    own_identity: Option<Identity>,
}

/// The rows of an archive, in the order of its manifest.
pub struct Contents<R: Read>(RecordReader<BufReader<Decompressed<R>>>);

type Decompressed<R> = Decoder<'static, BufReader<Decryptor<BufReader<BlockReader<R>>>>>;

impl<R: Read> ArchiveReader<R> {
    /// Reads the manifest.
    pub fn open(mut input: R, trust: Trust<'_>) -> Result<Self, ArchiveError> {
        let keys = match trust {
            Trust::Keys(keys) => Some(keys),
            Trust::Nothing => None,
        };
        let (manifest, key) = manifest::read_head(&mut input, keys)?;
        let (code_key, own_identity) = key.map(|key| (key.mac.clone(), key.identity.clone())).unzip();
        Ok(Self { input, manifest, code_key, own_identity })
    }

    /// What the archive holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns whether the rows can be read without an identity of the operator.
    pub fn is_sealed(&self) -> bool {
        self.manifest.recipients.is_empty()
    }

    /// Checks every byte of the encrypted part, without reading the rows in it.
    pub fn check_bytes(self) -> Result<Manifest, ArchiveError> {
        let mut blocks = self.blocks();
        let mut buffer = vec![0; BLOCK_BYTES];
        while blocks.0.read(&mut buffer)? > 0 {}
        Ok(blocks.1)
    }

    /// Returns the rows, which are decrypted with the key of the installation or one of the identities. They are right
    /// as a whole only when the last one was read.
    pub fn contents(self, identities: &[Identity]) -> Result<Contents<R>, ArchiveError> {
        let own: Vec<Identity> = self.own_identity.iter().cloned().collect();
        let recipients = self.manifest.recipients.len();
        let (blocks, manifest) = self.blocks();
        let identities = if recipients == 0 && !own.is_empty() { &own[..] } else { identities };
        let decrypted =
            Decryptor::new(BufReader::new(blocks), identities).map_err(|error| match ArchiveError::from(error) {
                ArchiveError::Encryption(AgeError::NoIdentity) if recipients == 0 => {
                    ArchiveError::OtherKey { id: manifest.key_id.clone() }
                }
                ArchiveError::Encryption(AgeError::NoIdentity) => ArchiveError::NoIdentity { recipients },
                error => error,
            })?;
        let mut rows = Decoder::new(decrypted)?;
        rows.window_log_max(WINDOW_LOG)?;
        Ok(Contents(RecordReader::new(BufReader::new(rows), manifest.tables)))
    }

    fn blocks(self) -> (BlockReader<R>, Manifest) {
        let Self { input, manifest, code_key, .. } = self;
        (BlockReader::new(input, code_key, &manifest.nonce, manifest.body_bytes), manifest)
    }
}

impl<R: Read> Contents<R> {
    /// Returns the next table or row; `None` after everything was read and found right.
    #[expect(clippy::should_implement_trait, reason = "an iterator would be used without its end being seen")]
    pub fn next(&mut self) -> Result<Option<Record>, ArchiveError> {
        self.0.next()
    }
}
