//! Restores a backup into an empty database: a thread of its own reads, decrypts and checks, while the rows are inserted in
//! one transaction. It commits only after the last byte of the archive was authenticated.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use portcullis_storage::{Aftercare, RestoreTarget, StoreOptions, StoredValue, TableShape};
use serde_json::json;
use tokio::sync::mpsc;

use crate::age::Identity;
use crate::archive::{ArchiveError, ArchiveReader, Contents, Manifest, Record, Trust};
use crate::create::declared;
use crate::error::BackupError;
use crate::name::ArchiveName;

/// Rows that are inserted by one statement.
const PAGE: usize = 1_000;
/// Pages that wait for the database. With those in work they bound the memory.
const WAITING_PAGES: usize = 2;

/// What is restored, and how.
pub struct RestoreOptions<'a> {
    /// The file of the archive.
    pub file: &'a Path,
    /// The database, which must be empty.
    pub target: &'a StoreOptions,
    /// What the archive is believed under.
    pub trust: Trust<'a>,
    /// Private keys, for rows that are encrypted to recipients.
    pub identities: &'a [Identity],
    /// Whether sessions and one-time tokens go on.
    pub keep_sessions: bool,
    /// Whether API keys end.
    pub end_keys: bool,
}

/// Is told of the progress of a restore.
pub trait RestoreProgress: Send {
    /// A table of this many rows begins.
    fn table(&mut self, name: &'static str, rows: u64);
    /// This many more rows of the table were inserted.
    fn inserted(&mut self, rows: u64);
    /// Every row was inserted; the rest of the transaction runs.
    fn finishing(&mut self);
}

/// Restores an archive. The file may have any name, but not that of another archive.
///
/// # Errors
/// After any error the database holds no row.
pub async fn restore(options: RestoreOptions<'_>, progress: &mut dyn RestoreProgress) -> Result<Manifest, BackupError> {
    let RestoreOptions { file, target, trust, identities, keep_sessions, end_keys } = options;
    let failed = |source| BackupError::File { path: file.to_owned(), source };
    let opened = File::open(file).map_err(|error| failed(ArchiveError::Io(error)))?;
    let archive = ArchiveReader::open(BufReader::new(opened), trust).map_err(failed)?;
    let manifest = archive.manifest().clone();
    refuse_other_name(file, &manifest)?;
    let contents = archive.contents(identities).map_err(failed)?;
    let mut target = Box::pin(RestoreTarget::open(target, manifest.schema_version)).await?;
    if !is_declared(&manifest, target.tables()) {
        return Err(failed(ArchiveError::rows(format!(
            "its tables are not those of schema {}",
            manifest.schema_version
        ))));
    }
    let (parts, mut waiting) = mpsc::channel(WAITING_PAGES);
    let reading = tokio::task::spawn_blocking(move || read(contents, &parts));
    let mut inserted = Ok(());
    while let Some(part) = waiting.recv().await {
        inserted = insert(&mut target, &manifest, part, progress).await;
        if inserted.is_err() {
            break;
        }
    }
    // The reader ends when nobody takes its parts.
    drop(waiting);
    let read = reading.await.map_err(|panic| BackupError::Panicked(panic.to_string()))?;
    inserted?;
    read.map_err(failed)?;
    progress.finishing();
    let details = json!({ "backup": manifest.id, "createdAt": manifest.created_at, "engine": manifest.engine });
    let drop_signing_keys = matches!(trust, Trust::Nothing);
    let aftercare = Aftercare { keep_sessions, end_keys, drop_signing_keys, details: Some(details) };
    target.finish(&aftercare).await?;
    Ok(manifest)
}

/// A part of an archive, on its way to the database.
enum Part {
    Table(usize),
    Rows(usize, Vec<Vec<StoredValue>>),
}

async fn insert(
    target: &mut RestoreTarget,
    manifest: &Manifest,
    part: Part,
    progress: &mut dyn RestoreProgress,
) -> Result<(), BackupError> {
    match part {
        Part::Table(table) => progress.table(target.tables()[table].name, manifest.tables[table].rows),
        Part::Rows(table, rows) => {
            let count = rows.len() as u64;
            target.insert(table, rows).await?;
            progress.inserted(count);
        }
    }
    Ok(())
}

/// Reads the whole archive. If nobody takes the parts any more, the database has the error.
fn read(mut contents: Contents<BufReader<File>>, parts: &mpsc::Sender<Part>) -> Result<(), ArchiveError> {
    let (mut table, mut rows) = (0, Vec::with_capacity(PAGE));
    loop {
        let record = contents.next()?;
        if !matches!(record, Some(Record::Row(_))) || rows.len() == PAGE {
            let page = std::mem::replace(&mut rows, Vec::with_capacity(PAGE));
            if !page.is_empty() && parts.blocking_send(Part::Rows(table, page)).is_err() {
                return Ok(());
            }
        }
        match record {
            Some(Record::Row(row)) => rows.push(row),
            Some(Record::Table(next)) => {
                table = next;
                if parts.blocking_send(Part::Table(table)).is_err() {
                    return Ok(());
                }
            }
            None => return Ok(()),
        }
    }
}

/// Whether the tables of an archive are those of its schema.
fn is_declared(manifest: &Manifest, tables: &[TableShape]) -> bool {
    let same = |(found, known): (&crate::archive::ManifestTable, &TableShape)| {
        let known = declared(known);
        (&found.name, &found.columns) == (&known.name, &known.columns)
    };
    manifest.tables.len() == tables.len() && manifest.tables.iter().zip(tables).all(same)
}

/// Refuses a file with the name of another archive: somebody has renamed it.
fn refuse_other_name(file: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let name = file.file_name().and_then(|name| name.to_str()).and_then(ArchiveName::parse);
    let made_as = ArchiveName::of(manifest);
    match name {
        Some(name) if name != made_as => Err(BackupError::Renamed { name, made_as }),
        _ => Ok(()),
    }
}
