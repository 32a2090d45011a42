//! Files of users: CSV and NDJSON.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value};

use super::import_run::ImportRun;
use super::row::{COLUMNS, REQUIRED, known_name, submit};
use crate::commands::output::Failure;

/// Imports the records of a CSV file whose first line names the columns (RFC 4180).
pub(super) async fn from_csv(file: Box<dyn Read>, run: &mut ImportRun<'_>) -> Result<(), Failure> {
    let unreadable = |error: &csv::Error| {
        Failure::new(format!("the file cannot be read: {error}"))
            .hint("check that it is a CSV file (RFC 4180) in UTF-8")
    };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(BufReader::new(file));
    let names: Vec<Option<&str>> =
        reader.headers().map_err(|error| unreadable(&error))?.iter().map(known_name).collect();
    let missing: Vec<&str> = REQUIRED.into_iter().filter(|required| !names.contains(&Some(required))).collect();
    if !missing.is_empty() {
        let hint = format!("write the names of the columns into the first line: {}", COLUMNS.join(","));
        return Err(Failure::new(format!("the first line does not name {}", missing.join(", "))).hint(hint));
    }
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let mut members = Map::new();
                for (name, value) in names.iter().zip(&record) {
                    if let Some(name) = name.filter(|_| !value.is_empty()) {
                        members.insert(name.to_owned(), Value::from(value));
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

/// Imports the JSON objects of a file, one a line.
pub(super) async fn from_ndjson(file: Box<dyn Read>, run: &mut ImportRun<'_>) -> Result<(), Failure> {
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes);
        let failed = |error: std::io::Error| {
            Failure::new(format!("the file cannot be read: {error}"))
                .hint("name a readable file, or - for standard input")
        };
        if read.map_err(failed)? == 0 {
            break;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Map<String, Value>>(&bytes) {
            Ok(members) => {
                let known =
                    members.into_iter().filter_map(|(name, value)| Some((known_name(&name)?.to_owned(), value)));
                submit(run, line, known.collect()).await?;
            }
            Err(error) => run.refuse(line, "", &format!("the line is not a JSON object: {}", plain_reason(&error)))?,
        }
    }
    Ok(())
}

/// Describes a syntax error without the text, which may contain a password hash.
fn plain_reason(error: &serde_json::Error) -> String {
    format!("{:?} error in column {}", error.classify(), error.column()).to_lowercase()
}
