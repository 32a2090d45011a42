//! The manifest: what an archive holds. It stands in the open at the beginning, under an authentication code.

use std::io::{self, Read};

use aws_lc_rs::hmac;
use portcullis_model::ApiTime;
use portcullis_storage::{Checksum, ColumnKind};
use serde::{Deserialize, Serialize};

use super::error::ArchiveError;
use super::keys::{ArchiveKey, ArchiveKeys};
use super::{FORMAT, OLDEST_FORMAT};

/// The first bytes of every archive; the number of the format and a line feed follow.
const MAGIC: &[u8] = b"portcullis-backup/";
/// The longest manifest that is read; ours has a few kilobytes.
const MAX_BYTES: u32 = 1 << 20;
/// Bytes of an authentication code.
pub(super) const CODE_BYTES: usize = 32;
/// Keeps the code of a manifest apart from those of blocks.
const MANIFEST_CODE: u8 = 0;

/// What an archive holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The archive's id: 16 hexadecimal digits, random, also in its name.
    pub id: String,
    /// Random; binds the blocks to this manifest.
    pub nonce: String,
    /// When the snapshot of the database was begun.
    pub created_at: ApiTime,
    /// The version of Portcullis that made the archive.
    pub app_version: String,
    /// The engine of the database: `sqlite` or `postgresql`.
    pub engine: String,
    /// The schema of the database.
    pub schema_version: i64,
    /// The generation of the installation; `None` until the first restore.
    pub generation: Option<String>,
    /// Tells which ENCRYPTION_KEY authenticates the archive.
    pub key_id: String,
    /// The recipients to which the rows are encrypted; none if they are sealed under ENCRYPTION_KEY.
    pub recipients: Vec<String>,
    /// Bytes of the encrypted part, without the codes of its blocks.
    pub body_bytes: u64,
    /// The tables, in the order of their rows.
    pub tables: Vec<ManifestTable>,
}

/// A table of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestTable {
    /// The table's name.
    pub name: String,
    /// The columns, in the order of a row's values.
    pub columns: Vec<ManifestColumn>,
    /// Number of rows.
    pub rows: u64,
    /// The sum of the rows' SHA-256 digests in hexadecimal.
    pub checksum: String,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestColumn {
    /// The column's name.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub kind: ColumnKind,
}

impl ManifestTable {
    /// Returns a table without rows.
    pub fn new(name: &str, columns: impl IntoIterator<Item = (&'static str, ColumnKind)>) -> Self {
        let column = |(name, kind): (&str, _)| ManifestColumn { name: name.to_owned(), kind };
        let columns = columns.into_iter().map(column).collect();
        Self { name: name.to_owned(), columns, rows: 0, checksum: Checksum::default().hex() }
    }
}

impl Manifest {
    /// Number of rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Bytes that the manifest will have at most, whatever the numbers in it will be.
    pub(super) fn reserved(&self) -> usize {
        let mut largest = self.clone();
        largest.body_bytes = u64::MAX;
        for table in &mut largest.tables {
            table.rows = u64::MAX;
        }
        largest.json().len()
    }

    /// Returns the beginning of an archive: format, length, manifest and code. The manifest is filled up with spaces to
    /// the reserved length.
    pub(super) fn head(&self, reserved: usize, key: &ArchiveKey) -> Vec<u8> {
        let mut json = self.json();
        debug_assert!(json.len() <= reserved, "numbers grew beyond what was reserved");
        json.resize(reserved, b' ');
        let length = u32::try_from(reserved).expect("a manifest has a few kilobytes");
        let mut head = [MAGIC, format!("{FORMAT}\n").as_bytes(), &length.to_be_bytes(), &json].concat();
        let code = hmac::sign(&key.mac, &[&[MANIFEST_CODE], &head[..]].concat());
        head.extend_from_slice(code.as_ref());
        head
    }

    fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has text keys and no failing serialisers")
    }
}

/// Reads the beginning of an archive. Without `keys` nothing is authenticated. Returns the manifest and the key that
/// authenticated it.
pub(super) fn read_head<'k>(
    input: &mut impl Read,
    keys: Option<&'k ArchiveKeys>,
) -> Result<(Manifest, Option<&'k ArchiveKey>), ArchiveError> {
    let mut head = read_magic(input)?;
    let mut length = [0; 4];
    read_part(input, &mut length, "the manifest")?;
    head.extend_from_slice(&length);
    let length = u32::from_be_bytes(length);
    if length > MAX_BYTES {
        return Err(ArchiveError::altered("the manifest"));
    }
    let begin = head.len();
    head.resize(begin + length as usize, 0);
    read_part(input, &mut head[begin..], "the manifest")?;
    let mut code = [0; CODE_BYTES];
    read_part(input, &mut code, "the manifest")?;
    let parsed = || serde_json::from_slice::<Manifest>(&head[begin..]).ok();
    let altered = || ArchiveError::altered("the manifest");
    let Some(keys) = keys else {
        return Ok((parsed().ok_or_else(altered)?, None));
    };
    let signed = [&[MANIFEST_CODE], &head[..]].concat();
    let Some(key) = keys.iter().find(|key| hmac::verify(&key.mac, &signed, &code).is_ok()) else {
        // What the manifest says of its key is not believed. It only tells another key from a changed byte.
        let other = parsed().map(|manifest| manifest.key_id).filter(|id| keys.iter().all(|key| key.id != *id));
        return Err(other.map_or_else(altered, |id| ArchiveError::OtherKey { id: printable(&id) }));
    };
    Ok((parsed().ok_or_else(altered)?, Some(key)))
}

/// Reads the first line and refuses formats that this version does not know.
fn read_magic(input: &mut impl Read) -> Result<Vec<u8>, ArchiveError> {
    let mut head = vec![0; MAGIC.len()];
    read_part(input, &mut head, "the first line").map_err(|error| match error {
        ArchiveError::CutOff { .. } => ArchiveError::NotAnArchive,
        error => error,
    })?;
    if head != MAGIC {
        return Err(ArchiveError::NotAnArchive);
    }
    let mut found: u32 = 0;
    loop {
        let mut byte = [0];
        read_part(input, &mut byte, "the first line")?;
        head.push(byte[0]);
        match byte[0] {
            b'\n' => break,
            digit @ b'0'..=b'9' if found < 100_000 => found = found * 10 + u32::from(digit - b'0'),
            _ => return Err(ArchiveError::NotAnArchive),
        }
    }
    match (OLDEST_FORMAT..=FORMAT).contains(&found) {
        true => Ok(head),
        false => Err(ArchiveError::Format { found, oldest: OLDEST_FORMAT, newest: FORMAT }),
    }
}

/// Fills the buffer, or says in which part the archive ends.
pub(super) fn read_part(input: &mut impl Read, buffer: &mut [u8], part: &str) -> Result<(), ArchiveError> {
    input.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::CutOff { part: part.to_owned() },
        _ => error.into(),
    })
}

/// Cuts what an unauthenticated text may do to a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).take(16).collect()
}
