//! Copies of a SQLite database, made before its migration.

use std::path::{Path, PathBuf};

use portcullis_model::Timestamp;

use crate::engine::connection::{Connection, Target};
use crate::engine::open_error::OpenError;
use crate::engine::statement::{Runner, Sql};

/// Number of copies that are kept.
const KEPT: usize = 3;

static CHECK: Sql = Sql::select("schema", "PRAGMA integrity_check");

/// Copies the database beside its file, checks the copy, and removes all copies but the newest three.
pub(super) async fn take(
    runner: &Runner,
    on: &mut Connection,
    file: &Path,
    before: i64,
    now: Timestamp,
) -> Result<PathBuf, OpenError> {
    let copy = free_name(file, &format!("before-{before:04}-{}", now.format("%Y%m%dT%H%M%S%.3fZ")));
    let failed = |source| OpenError::Snapshot { path: copy.clone(), source };
    let written = write(runner, on, &copy).await;
    if written.is_err() {
        // An incomplete copy is useless.
        let _ = std::fs::remove_file(&copy);
    }
    written.map_err(failed)?;
    prune(file);
    Ok(copy)
}

/// Returns an unused name, because two processes may copy within one millisecond. The file is created empty.
fn free_name(file: &Path, name: &str) -> PathBuf {
    let mut copy = sibling(file, &format!("{name}.bak"));
    for n in 2..=9 {
        match crate::engine::private_file::create(&copy, true) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                copy = sibling(file, &format!("{name}.{n}.bak"));
            }
            // Any other error is reported when the copy is written.
            _ => break,
        }
    }
    copy
}

/// Returns the newest copy that was made before the migration to this schema.
pub(crate) fn newest(file: &Path, before: i64) -> Option<PathBuf> {
    let wanted = format!("before-{before:04}-");
    copies(file).into_iter().rev().find(|copy| copy.to_string_lossy().contains(&wanted))
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn write(runner: &Runner, on: &mut Connection, copy: &Path) -> Result<(), Failure> {
    // The file is created for its owner alone first: SQLite would make it readable by everybody.
    crate::engine::private_file::prepare_database_file(copy)?;
    let name = copy.display().to_string().replace('\'', "''");
    runner.script(on, "VACUUM", "schema", &format!("VACUUM INTO '{name}'")).await?;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(copy).read_only(true).immutable(true);
    let mut opened = Connection::open(&Target::Sqlite(Box::new(options))).await?;
    let rows = runner.all(&mut opened, &CHECK, vec![]).await?;
    let verdict: String = rows.first().ok_or("the copy cannot be checked")?.get("integrity_check")?;
    opened.close().await?;
    if verdict == "ok" { Ok(()) } else { Err(format!("the copy is damaged: {verdict}").into()) }
}

fn prune(file: &Path) {
    let copies = copies(file);
    for copy in copies.iter().take(copies.len().saturating_sub(KEPT)) {
        if let Err(error) = std::fs::remove_file(copy) {
            tracing::warn!(%error, copy = %copy.display(), "an old copy of the database cannot be removed");
        }
    }
}

/// Returns the copies of a database, oldest first. Their names end with the time, by which they are sorted.
fn copies(file: &Path) -> Vec<PathBuf> {
    let prefix = format!("{}.before-", file.file_name().unwrap_or_default().to_string_lossy());
    let folder = file.parent().unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut copies: Vec<PathBuf> =
        entries.filter(|path| name(path).starts_with(&prefix) && name(path).ends_with(".bak")).collect();
    copies.sort_by_key(|path| name(path).rsplit('-').next().unwrap_or_default().to_owned());
    copies
}

fn sibling(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    file.with_file_name(name)
}
