//! The stream of rows within the encrypted part: records of a tag, a length and a content.
//!
//! A value is a byte that says whether it is NULL, and its bytes: the same for both engines.

use std::io::{self, BufRead, Read, Write};

use portcullis_model::Timestamp;
use portcullis_storage::{Checksum, ColumnKind, StoredValue};
use uuid::Uuid;

use super::error::ArchiveError;
use super::manifest::ManifestTable;

/// The rows of this table follow; the content is its name.
const TABLE: u8 = 1;
/// A row of the table; the content is a value for each of its columns.
const ROW: u8 = 2;
/// Nothing follows.
const END: u8 = 3;
/// A reader passes over records with this tag and higher ones if it does not know them.
const OPTIONAL: u8 = 128;
/// The largest content of a record.
pub(crate) const MAX_ROW_BYTES: usize = 16 << 20;

const NULL: u8 = 0;
const PRESENT: u8 = 1;

/// Writes records.
pub(super) struct RecordWriter<W> {
    output: W,
    content: Vec<u8>,
}

impl<W: Write> RecordWriter<W> {
    pub(super) fn new(output: W) -> Self {
        Self { output, content: Vec::new() }
    }

    pub(super) fn table(&mut self, name: &str) -> io::Result<()> {
        self.record(TABLE, name.as_bytes())
    }

    pub(super) fn row(&mut self, table: &str, row: &[StoredValue]) -> Result<(), ArchiveError> {
        let mut content = std::mem::take(&mut self.content);
        content.clear();
        for value in row {
            write_value(value, &mut content);
        }
        if content.len() > MAX_ROW_BYTES {
            return Err(ArchiveError::RowTooLarge { table: table.to_owned() });
        }
        let written = self.record(ROW, &content);
        self.content = content;
        Ok(written?)
    }

    pub(super) fn end(mut self) -> io::Result<W> {
        self.record(END, &[])?;
        Ok(self.output)
    }

    fn record(&mut self, tag: u8, content: &[u8]) -> io::Result<()> {
        self.output.write_all(&[tag])?;
        self.output.write_all(&length_of(content))?;
        self.output.write_all(content)
    }
}

fn length_of(content: &[u8]) -> [u8; 4] {
    u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes()
}

fn write_value(value: &StoredValue, out: &mut Vec<u8>) {
    let fixed = |out: &mut Vec<u8>, content: Option<&[u8]>| match content {
        None => out.push(NULL),
        Some(content) => {
            out.push(PRESENT);
            out.extend_from_slice(content);
        }
    };
    let counted = |out: &mut Vec<u8>, content: Option<&[u8]>| match content {
        None => out.push(NULL),
        Some(content) => {
            out.push(PRESENT);
            out.extend_from_slice(&length_of(content));
            out.extend_from_slice(content);
        }
    };
    match value {
        StoredValue::Boolean(value) => {
            let byte = value.map(|value| [u8::from(value)]);
            fixed(out, byte.as_ref().map(<[u8; 1]>::as_slice));
        }
        StoredValue::BigInt(value) => fixed(out, value.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice)),
        StoredValue::Text(value) => counted(out, value.as_deref().map(str::as_bytes)),
        StoredValue::Bytes(value) => counted(out, value.as_deref()),
        StoredValue::Uuid(value) => fixed(out, value.as_ref().map(|value| value.as_bytes().as_slice())),
        StoredValue::Time(value) => {
            let micros = value.map(|value| value.timestamp_micros().to_be_bytes());
            fixed(out, micros.as_ref().map(<[u8; 8]>::as_slice));
        }
    }
}

/// A part of the contents of an archive.
#[derive(Clone, Debug)]
pub enum Record {
    /// The rows of the table with this position in the manifest follow.
    Table(usize),
    /// A row of the table.
    Row(Vec<StoredValue>),
}

/// Reads records, and holds them against the manifest: which tables in which order, and the number and the checksum of
/// the rows of each.
pub(super) struct RecordReader<R> {
    input: R,
    tables: Vec<ManifestTable>,
    /// Number of tables that have begun.
    begun: usize,
    checksum: Checksum,
    content: Vec<u8>,
    finished: bool,
}

impl<R: BufRead> RecordReader<R> {
    pub(super) fn new(input: R, tables: Vec<ManifestTable>) -> Self {
        Self { input, tables, begun: 0, checksum: Checksum::default(), content: Vec::new(), finished: false }
    }

    /// Returns the next record; `None` after the last one, when everything was read and found right.
    pub(super) fn next(&mut self) -> Result<Option<Record>, ArchiveError> {
        while !self.finished {
            match self.read_record()? {
                TABLE => return self.begin_table().map(Some),
                ROW => return self.read_row().map(Some),
                END => self.end()?,
                OPTIONAL.. => {}
                tag => return Err(ArchiveError::rows(format!("there is a record of the unknown kind {tag}"))),
            }
        }
        Ok(None)
    }

    fn begin_table(&mut self) -> Result<Record, ArchiveError> {
        self.check_table()?;
        let expected = self.tables.get(self.begun).map(|table| table.name.as_bytes());
        if expected != Some(self.content.as_slice()) {
            return Err(ArchiveError::rows("a table is not the next one of the manifest"));
        }
        self.begun += 1;
        self.checksum = Checksum::default();
        Ok(Record::Table(self.begun - 1))
    }

    fn read_row(&mut self) -> Result<Record, ArchiveError> {
        let table = self.begun.checked_sub(1).and_then(|index| self.tables.get(index));
        let table = table.ok_or_else(|| ArchiveError::rows("a row belongs to no table"))?;
        let mut rest = &self.content[..];
        let row: Option<Vec<StoredValue>> =
            table.columns.iter().map(|column| read_value(column.kind, &mut rest)).collect();
        match row {
            Some(row) if rest.is_empty() => {
                self.checksum.add(&row);
                Ok(Record::Row(row))
            }
            _ => Err(ArchiveError::rows(format!("a row of {} does not have its columns", table.name))),
        }
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        self.check_table()?;
        if self.begun < self.tables.len() {
            return Err(ArchiveError::rows(format!("{} is missing", self.tables[self.begun].name)));
        }
        if !self.content.is_empty() || self.input.read(&mut [0])? != 0 {
            return Err(ArchiveError::rows("something follows the last record"));
        }
        self.finished = true;
        Ok(())
    }

    /// Compares the table that ends with the manifest.
    fn check_table(&self) -> Result<(), ArchiveError> {
        let Some(index) = self.begun.checked_sub(1) else { return Ok(()) };
        let table = &self.tables[index];
        if (table.rows, &table.checksum) == (self.checksum.rows, &self.checksum.hex()) {
            return Ok(());
        }
        Err(ArchiveError::rows(format!(
            "{} has {}, and the manifest says {} rows (checksum {})",
            table.name,
            self.checksum,
            table.rows,
            table.checksum.get(..16).unwrap_or_default()
        )))
    }

    /// Reads a record into `content` and returns its tag.
    fn read_record(&mut self) -> Result<u8, ArchiveError> {
        let mut head = [0; 5];
        self.read_exact_into(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > MAX_ROW_BYTES {
            return Err(ArchiveError::rows("a record is too long"));
        }
        self.content.clear();
        // The memory grows with what is really there, not with what the length says.
        let read = self.input.by_ref().take(length as u64).read_to_end(&mut self.content)?;
        if read < length {
            return Err(ArchiveError::rows("the last record is cut off"));
        }
        Ok(head[0])
    }

    fn read_exact_into(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::rows("the last record is missing"),
            _ => error.into(),
        })
    }
}

/// Reads a value; `None` if there is none of this type.
fn read_value(kind: ColumnKind, rest: &mut &[u8]) -> Option<StoredValue> {
    let present = match take(rest, 1)?[0] {
        NULL => false,
        PRESENT => true,
        _ => return None,
    };
    Some(match kind {
        ColumnKind::Boolean => StoredValue::Boolean(match present {
            false => None,
            true => Some(match take(rest, 1)?[0] {
                0 => false,
                1 => true,
                _ => return None,
            }),
        }),
        ColumnKind::BigInt => StoredValue::BigInt(if present { Some(number(rest)?) } else { None }),
        ColumnKind::Timestamp => StoredValue::Time(match present {
            false => None,
            true => Some(Timestamp::from_timestamp_micros(number(rest)?)?),
        }),
        ColumnKind::Uuid => StoredValue::Uuid(match present {
            false => None,
            true => Some(Uuid::from_slice(take(rest, 16)?).ok()?),
        }),
        ColumnKind::Text => StoredValue::Text(match present {
            false => None,
            true => Some(std::str::from_utf8(counted(rest)?).ok()?.to_owned()),
        }),
        ColumnKind::Bytes => StoredValue::Bytes(if present { Some(counted(rest)?.to_vec()) } else { None }),
    })
}

fn number(rest: &mut &[u8]) -> Option<i64> {
    take(rest, 8)?.try_into().ok().map(i64::from_be_bytes)
}

fn counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(rest, 4)?.try_into().ok().map(u32::from_be_bytes)?;
    take(rest, usize::try_from(length).ok()?)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}
