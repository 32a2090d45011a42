//! Makes a backup: reads every table in one snapshot, while a thread of its own compresses, encrypts and writes.

use std::fs::File;

use portcullis_storage::{GENERATION, Snapshot, StoreOptions, StoredValue, TableShape};
use tokio::sync::mpsc;

use crate::age::Recipient;
use crate::archive::{ArchiveError, ArchiveKeys, ArchiveWriter, Manifest, ManifestTable, NewArchive};
use crate::error::BackupError;
use crate::folder::{Folder, PartialArchive};
use crate::name::ArchiveName;

/// Pages of rows that wait for the writing thread. With those in work they bound the memory.
const WAITING_PAGES: usize = 2;

/// What a backup is made of, and where it goes.
pub struct BackupOptions<'a> {
    /// The database, which must have the newest schema.
    pub database: &'a StoreOptions,
    /// Where the archive is written.
    pub folder: &'a Folder,
    /// The keys that authenticate it.
    pub keys: &'a ArchiveKeys,
    /// To whom the rows are encrypted; if there is nobody, they are sealed under ENCRYPTION_KEY.
    pub recipients: &'a [Recipient],
}

/// Is told of the progress of a backup.
pub trait BackupProgress: Send {
    /// A table of this many rows begins.
    fn table(&mut self, name: &'static str, rows: u64);
    /// This many more rows of the table were read.
    fn read(&mut self, rows: u64);
    /// Every row was read; the rest is being written to the disk.
    fn finishing(&mut self);
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct CreatedBackup {
    /// The archive's name.
    pub name: ArchiveName,
    /// Bytes of the file.
    pub bytes: u64,
    /// What it holds.
    pub manifest: Manifest,
}

/// Makes a backup of one moment of the database. Readers and writers of the database go on meanwhile.
///
/// # Errors
/// After any error the folder is as it was.
pub async fn create(
    options: BackupOptions<'_>,
    progress: &mut dyn BackupProgress,
) -> Result<CreatedBackup, BackupError> {
    let BackupOptions { database, folder, keys, recipients } = options;
    let mut snapshot = Snapshot::open(database).await?;
    let id = database.random.hex::<8>();
    let name = ArchiveName::new(snapshot.begun_at(), &id);
    let failed = |source| BackupError::Write { folder: folder.path().to_owned(), source };
    let partial = folder.begin(&name)?;
    let generation = snapshot.instance_value(GENERATION).await?;
    let archive = NewArchive {
        id: &id,
        created_at: snapshot.begun_at(),
        app_version: &database.app_version,
        engine: snapshot.engine(),
        schema_version: snapshot.schema_version(),
        generation,
        recipients,
        tables: snapshot.tables().iter().map(declared).collect(),
    };
    let file = partial.file().map_err(|source| folder.error(source))?;
    let writer = ArchiveWriter::create(file, archive, keys, &database.random).map_err(failed)?;
    let (parts, mut waiting) = mpsc::channel(WAITING_PAGES);
    let writing = tokio::task::spawn_blocking(move || write(partial, writer, &mut waiting));
    let read = read_all(&mut snapshot, &parts, progress).await;
    drop(parts);
    snapshot.close().await;
    let written = writing.await.map_err(|panic| BackupError::Panicked(panic.to_string()))?;
    match written.map_err(failed)? {
        Some((bytes, manifest)) => Ok(CreatedBackup { name, bytes, manifest }),
        None => Err(read.expect_err("the reading ends without its last part only by an error")),
    }
}

/// Returns a table as a manifest declares it.
pub(crate) fn declared(table: &TableShape) -> ManifestTable {
    ManifestTable::new(table.name, table.columns.iter().map(|column| (column.name, column.kind)))
}

/// A part of an archive, on its way to the writing thread.
enum Part {
    Table,
    Rows(Vec<Vec<StoredValue>>),
    End,
}

/// Reads all tables. If nobody takes the parts any more, the writing thread has the error.
async fn read_all(
    snapshot: &mut Snapshot,
    parts: &mpsc::Sender<Part>,
    progress: &mut dyn BackupProgress,
) -> Result<(), BackupError> {
    for table in 0..snapshot.tables().len() {
        progress.table(snapshot.tables()[table].name, snapshot.count(table).await?);
        if parts.send(Part::Table).await.is_err() {
            return Ok(());
        }
        let mut rows = snapshot.rows(table);
        while let Some(page) = rows.next_page().await? {
            let count = page.len() as u64;
            if parts.send(Part::Rows(page)).await.is_err() {
                return Ok(());
            }
            progress.read(count);
        }
    }
    progress.finishing();
    // A failure is the writing thread's.
    let _ = parts.send(Part::End).await;
    Ok(())
}

/// Writes parts until the last one, and publishes the archive; `None` if the last one never comes.
fn write(
    partial: PartialArchive,
    mut writer: ArchiveWriter<File>,
    parts: &mut mpsc::Receiver<Part>,
) -> Result<Option<(u64, Manifest)>, ArchiveError> {
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Table => writer.table()?,
            Part::Rows(rows) => {
                for row in &rows {
                    writer.row(row)?;
                }
            }
            Part::End => {
                let (_, manifest) = writer.finish()?;
                let bytes = partial.publish()?;
                return Ok(Some((bytes, manifest)));
            }
        }
    }
    Ok(None)
}
