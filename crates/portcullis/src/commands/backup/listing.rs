//! `portcullis backup list`.

use std::error::Error;

use portcullis_backup::{BackupError, Manifest, StoredArchive, read_manifest};
use portcullis_model::user::rfc3339_millis;
use serde_json::{Value, json};

use super::{Place, describe, manifest_json, merged, size};
use crate::commands::output::{Failure, print, print_json};
use crate::commands::{Format, table};

/// A backup, and its manifest or why it cannot be used.
type Listed = (StoredArchive, Result<Manifest, BackupError>);

pub(super) fn run(place: &Place, format: Format) -> Result<(), Failure> {
    let archives = place.folder.list().map_err(|error| describe(&error))?;
    let read = |archive: StoredArchive| {
        let manifest = read_manifest(&place.folder, &archive.name, &place.keys);
        (archive, manifest)
    };
    let listed: Vec<Listed> = archives.into_iter().map(read).collect();
    if format.json {
        print_json(&json!({ "backups": listed.iter().map(to_json).collect::<Vec<_>>() }));
    } else if listed.is_empty() {
        print(&format!("There is no backup in {}.\n", place.folder.path().display()));
    } else {
        let header = ["ID", "CREATED", "SIZE", "ROWS", "ENGINE", "SCHEMA", "READ BY"];
        print(&table::render(&header, &listed.iter().map(row).collect::<Vec<_>>()));
    }
    Ok(())
}

fn to_json((archive, manifest): &Listed) -> Value {
    let backup = json!({ "id": archive.name.id(), "name": archive.name.to_string(), "sizeBytes": archive.bytes });
    match manifest {
        Ok(manifest) => merged(backup, manifest_json(manifest)),
        Err(error) => merged(backup, json!({ "problem": problem(error) })),
    }
}

fn row((archive, manifest): &Listed) -> Vec<String> {
    let (id, size) = (archive.name.id().to_owned(), size(archive.bytes));
    match manifest {
        Ok(manifest) => {
            let reader = match manifest.recipients.len() {
                0 => "ENCRYPTION_KEY".to_owned(),
                1 => "1 recipient".to_owned(),
                count => format!("{count} recipients"),
            };
            let (rows, schema) = (manifest.rows().to_string(), manifest.schema_version.to_string());
            vec![id, rfc3339_millis(manifest.created_at.0), size, rows, manifest.engine.clone(), schema, reader]
        }
        Err(error) => {
            let unknown = || "-".to_owned();
            vec![id, unknown(), size, unknown(), unknown(), unknown(), problem(error)]
        }
    }
}

/// Says why a backup cannot be used, in one line.
fn problem(error: &BackupError) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
