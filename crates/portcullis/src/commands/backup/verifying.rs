//! `portcullis backup verify`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use portcullis_backup::age::Identity;
use portcullis_backup::{BackupError, StoredArchive, Verified, VerifyProgress, verify};
use serde_json::json;

use super::{Place, describe, manifest_json, merged};
use crate::commands::Format;
use crate::commands::output::{Failure, print, print_json};
use crate::commands::progress::ByteProgress;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The id of the backup, as `backup list` shows it, or the name of its file [default: the newest]
    id: Option<String>,
    /// The file of a private key of age, for rows that are encrypted to recipients
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> Result<(), Failure> {
    let identities = arguments.identity.as_deref().map(read_identities).transpose()?.unwrap_or_default();
    let archive = find(place, arguments.id.as_deref()).map_err(|error| describe(&error))?;
    let mut progress = ByteProgress::new(arguments.format, &archive.name.to_string(), archive.bytes);
    let begun = Instant::now();
    let verified = verify(&place.folder, &archive, &place.keys, &identities, &mut progress);
    progress.end();
    show(&archive, &verified.map_err(|error| describe(&error))?, begun.elapsed().as_secs_f64(), arguments.format);
    Ok(())
}

fn find(place: &Place, id: Option<&str>) -> Result<StoredArchive, BackupError> {
    let Some(id) = id else {
        let newest = place.folder.list()?.into_iter().next();
        return newest.ok_or_else(|| BackupError::None { folder: place.folder.path().to_owned() });
    };
    place.folder.find(id)
}

/// Reads the file of private keys that `--identity` names.
pub(in crate::commands) fn read_identities(path: &Path) -> Result<Vec<Identity>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(format!("the private key {} cannot be read: {error}", path.display()))
            .hint("--identity names a file that `age-keygen` wrote")
    })?;
    Identity::parse_file(&text).map_err(|error| {
        Failure::new(format!("{} is not a private key of age", path.display())).hint(error.to_string())
    })
}

fn show(archive: &StoredArchive, verified: &Verified, seconds: f64, format: Format) {
    let Verified { manifest, rows_read } = verified;
    let StoredArchive { name, bytes } = archive;
    if format.json {
        let backup = json!({
            "id": name.id(),
            "name": name.to_string(),
            "sizeBytes": bytes,
            "seconds": seconds,
            "rowsRead": rows_read,
        });
        print_json(&json!({ "backup": merged(backup, manifest_json(manifest)) }));
        return;
    }
    let rows = manifest.rows();
    let found = match rows_read {
        true => format!("every byte is authentic, and its {rows} rows are those of its manifest ({seconds:.1} s)"),
        false => format!(
            "every byte is authentic ({seconds:.1} s). Its {rows} rows are encrypted to recipients and were not read; \
             --identity FILE reads them too"
        ),
    };
    print(&format!("{name}: {found}.\n"));
}

impl VerifyProgress for ByteProgress {
    fn read(&mut self, bytes: u64) {
        self.add(bytes);
    }
}
