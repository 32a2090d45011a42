//! Writes an archive.

use std::io::{BufWriter, Seek, SeekFrom, Write};

use portcullis_model::{ApiTime, Random, Timestamp};
use portcullis_storage::{Checksum, StoredValue};
use zstd::stream::write::Encoder;

use super::blocks::BlockWriter;
use super::error::ArchiveError;
use super::keys::{ArchiveKey, ArchiveKeys};
use super::manifest::{Manifest, ManifestTable};
use super::rows::RecordWriter;
use crate::age::{Encryptor, Recipient};

/// The level of compression: zstd's default, at which it is faster than any database is read.
const LEVEL: i32 = 3;
/// Binary logarithm of the bytes within which repetitions are found: 8 MiB, which a reader needs too.
pub(super) const WINDOW_LOG: u32 = 23;

/// What is known of an archive before it is written.
#[derive(Clone, Debug)]
pub struct NewArchive<'a> {
    /// The archive's id, which its name has too.
    pub id: &'a str,
    /// When the snapshot was begun.
    pub created_at: Timestamp,
    /// The version of Portcullis.
    pub app_version: &'a str,
    /// The engine of the database.
    pub engine: &'a str,
    /// The schema of the database.
    pub schema_version: i64,
    /// The generation of the installation.
    pub generation: Option<String>,
    /// To whom the rows are encrypted; if there is nobody, they are sealed under ENCRYPTION_KEY.
    pub recipients: &'a [Recipient],
    /// The tables, in the order in which they are written. Rows and checksums are filled in.
    pub tables: Vec<ManifestTable>,
}

/// An archive that is being written. Without [`finish`](Self::finish) it has no manifest and nobody can read it.
pub struct ArchiveWriter<F: Write + Seek> {
    manifest: Manifest,
    reserved: usize,
    key: ArchiveKey,
    records: RecordWriter<Encoder<'static, Encryptor<BlockWriter<BufWriter<F>>>>>,
    /// Number of tables that have begun.
    begun: usize,
    checksum: Checksum,
}

impl<F: Write + Seek> ArchiveWriter<F> {
    /// Begins an archive at the beginning of an empty file.
    pub fn create(file: F, archive: NewArchive<'_>, keys: &ArchiveKeys, random: &Random) -> Result<Self, ArchiveError> {
        let key = keys.current().clone();
        // As exact as the manifest writes it.
        let created_at = Timestamp::from_timestamp_millis(archive.created_at.timestamp_millis());
        let manifest = Manifest {
            id: archive.id.to_owned(),
            nonce: random.hex::<16>(),
            created_at: ApiTime(created_at.unwrap_or(archive.created_at)),
            app_version: archive.app_version.to_owned(),
            engine: archive.engine.to_owned(),
            schema_version: archive.schema_version,
            generation: archive.generation,
            key_id: key.id.clone(),
            recipients: archive.recipients.iter().map(Recipient::to_string).collect(),
            body_bytes: 0,
            tables: archive.tables,
        };
        let reserved = manifest.reserved();
        let mut file = BufWriter::new(file);
        // Until the end the place of the manifest is empty, so that no half archive looks like one.
        file.write_all(&vec![0; manifest.head(reserved, &key).len()])?;
        let blocks = BlockWriter::new(file, &key.mac, &manifest.nonce);
        let own = [key.identity.to_recipient()];
        let recipients = if archive.recipients.is_empty() { &own } else { archive.recipients };
        let mut compressed = Encoder::new(Encryptor::new(blocks, recipients, random)?, LEVEL)?;
        compressed.window_log(WINDOW_LOG)?;
        compressed.include_checksum(false)?;
        let records = RecordWriter::new(compressed);
        Ok(Self { manifest, reserved, key, records, begun: 0, checksum: Checksum::default() })
    }

    /// Begins the next table. Every table must begin, also an empty one.
    pub fn table(&mut self) -> Result<(), ArchiveError> {
        self.end_table();
        self.records.table(&self.manifest.tables[self.begun].name)?;
        self.begun += 1;
        Ok(())
    }

    /// Writes a row of the table: a value for each of its columns.
    pub fn row(&mut self, row: &[StoredValue]) -> Result<(), ArchiveError> {
        self.checksum.add(row);
        self.records.row(&self.manifest.tables[self.begun - 1].name, row)
    }

    /// Writes what is left, and then the manifest. The file is not synced.
    pub fn finish(mut self) -> Result<(F, Manifest), ArchiveError> {
        self.end_table();
        debug_assert_eq!(self.begun, self.manifest.tables.len(), "every table has begun");
        let (file, bytes) = self.records.end()?.finish()?.finish()?.finish()?;
        self.manifest.body_bytes = bytes;
        let mut file = file.into_inner().map_err(|error| ArchiveError::Io(error.into_error()))?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&self.manifest.head(self.reserved, &self.key))?;
        file.flush()?;
        Ok((file, self.manifest))
    }

    fn end_table(&mut self) {
        let checksum = std::mem::take(&mut self.checksum);
        if let Some(table) = self.begun.checked_sub(1).and_then(|index| self.manifest.tables.get_mut(index)) {
            table.rows = checksum.rows;
            table.checksum = checksum.hex();
        }
    }
}
