//! Files of users: CSV and NDJSON.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use serde_json::{Map, Value};

use super::columns::{Columns, Meaning, UnknownNames};
use super::import_run::ImportRun;
use super::members::Members;
use super::row::submit;
use crate::commands::output::Failure;

/// The byte order mark of UTF-8, which some programs write in front of a file.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Imports the records of a CSV file whose first line names the columns (RFC 4180).
pub(super) async fn from_csv(file: impl Read, columns: &Columns, run: &mut ImportRun<'_>) -> Result<(), Failure> {
    let unreadable = |error: &csv::Error| {
        Failure::new(format!("the file cannot be read: {error}"))
            .hint("check that it is a CSV file (RFC 4180) in UTF-8")
    };
    let mut file = BufReader::new(file);
    skip_mark(&mut file)?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let header = reader.headers().map_err(|error| unreadable(&error))?.clone();
    if header.len() == 1 && header[0].contains([';', '\t']) {
        return Err(Failure::new("the values of the first line are not separated by commas")
            .hint("export the file with commas as separators (RFC 4180)"));
    }
    columns.check(header.iter())?;
    let meanings: Vec<Meaning> = header.iter().map(|name| columns.meaning(name)).collect();
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) if record.len() != meanings.len() => {
                let problem = format!("the line has {} values, the first line {}", record.len(), meanings.len());
                run.refuse(line, "", &problem)?;
            }
            Ok(true) => {
                let mut members = Map::new();
                for (meaning, value) in meanings.iter().zip(&record) {
                    if let Meaning::Column(name) = meaning
                        && !value.is_empty()
                    {
                        members.insert((*name).to_owned(), Value::from(value));
                    }
                }
                submit(run, line, members).await?;
            }
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                run.refuse(line, "", "the line is not UTF-8")?;
            }
            Err(error) => return Err(unreadable(&error)),
        }
    }
}

/// Imports the JSON objects of a file, one a line. The file is read twice, so that an unknown member in its last line is
/// found before the first user is written.
pub(super) async fn from_ndjson(mut file: File, columns: &Columns, run: &mut ImportRun<'_>) -> Result<(), Failure> {
    let mut unknown = UnknownNames::default();
    let mut lines = Lines::of(&mut file)?;
    while let Some((_, bytes)) = lines.next()? {
        // A line that is no object is refused in the second reading.
        let Ok(Members(members)) = serde_json::from_slice(bytes) else { continue };
        for (name, _) in members.iter().filter(|(name, _)| columns.meaning(name) == Meaning::Unknown) {
            unknown.add(name);
        }
    }
    if !unknown.is_empty() {
        return Err(unknown.failure(&[]));
    }
    file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&error))?;
    let mut lines = Lines::of(&mut file)?;
    while let Some((line, bytes)) = lines.next()? {
        match serde_json::from_slice::<Members>(bytes) {
            Ok(Members(members)) => match known(columns, members) {
                Ok(members) => submit(run, line, members).await?,
                Err(problem) => run.refuse(line, "", &problem)?,
            },
            Err(error) => run.refuse(line, "", &format!("the line is not a JSON object: {}", plain_reason(&error)))?,
        }
    }
    Ok(())
}

/// Renames the members to the columns that they stand for.
fn known(columns: &Columns, members: Vec<(String, Value)>) -> Result<Map<String, Value>, String> {
    let mut known = Map::new();
    for (name, value) in members {
        match columns.meaning(&name) {
            Meaning::Column(column) => {
                if known.insert(column.to_owned(), value).is_some() {
                    return Err(format!("{column} is given twice"));
                }
            }
            Meaning::Ignored => {}
            // The file has changed since the first reading.
            Meaning::Unknown => return Err("the line has an unknown member".to_owned()),
        }
    }
    Ok(known)
}

/// The lines of a file that are not empty, with their numbers.
struct Lines<'f> {
    reader: BufReader<&'f mut File>,
    bytes: Vec<u8>,
    line: u64,
}

impl<'f> Lines<'f> {
    fn of(file: &'f mut File) -> Result<Self, Failure> {
        let mut reader = BufReader::new(file);
        skip_mark(&mut reader)?;
        Ok(Self { reader, bytes: Vec::new(), line: 0 })
    }

    fn next(&mut self) -> Result<Option<(u64, &[u8])>, Failure> {
        loop {
            self.bytes.clear();
            if self.reader.read_until(b'\n', &mut self.bytes).map_err(|error| unreadable(&error))? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if !self.bytes.trim_ascii().is_empty() {
                return Ok(Some((self.line, &self.bytes)));
            }
        }
    }
}

/// Skips the byte order mark of UTF-8, and refuses UTF-16.
fn skip_mark(reader: &mut impl BufRead) -> Result<(), Failure> {
    let begin = reader.fill_buf().map_err(|error| unreadable(&error))?;
    if begin.starts_with(b"\xff\xfe") || begin.starts_with(b"\xfe\xff") {
        return Err(Failure::new("the file is in UTF-16").hint("save it in UTF-8, or convert it with iconv"));
    }
    if begin.starts_with(MARK) {
        reader.consume(MARK.len());
    }
    Ok(())
}

/// Copies a source that can be read once to a temporary file. The file has no name, so that nobody else can open it and it
/// ends with this process.
pub(super) fn copy(mut source: impl Read) -> Result<File, Failure> {
    let copied = tempfile::tempfile().and_then(|mut copy| {
        io::copy(&mut source, &mut copy)?;
        copy.seek(SeekFrom::Start(0))?;
        Ok(copy)
    });
    copied.map_err(|error| {
        Failure::new(format!("the input cannot be copied to a temporary file: {error}"))
            .hint("set TMPDIR to a folder with room for it, or name a file")
    })
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(format!("the file cannot be read: {error}")).hint("name a readable file, or - for standard input")
}

/// Describes a syntax error without the text, which may contain a password hash.
fn plain_reason(error: &serde_json::Error) -> String {
    format!("{:?} error in column {}", error.classify(), error.column()).to_lowercase()
}
