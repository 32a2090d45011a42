//! `portcullis backup`: makes, lists and checks backups.

mod listing;
mod making;
mod verifying;

use clap::Subcommand;
use portcullis_backup::{ArchiveKeys, BackupError, Folder, Manifest};
use portcullis_model::user::rfc3339_millis;
use portcullis_settings::Settings;
use serde_json::{Value, json};
pub(super) use verifying::read_identities;

use super::Format;
use super::output::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a backup of everything in the database
    #[command(after_help = "\
It holds the rows of one moment, and does not stop or delay a running gateway. The file gets its
name when it is whole and on the disk; a run that fails leaves nothing.

Examples:
  portcullis backup create
  PORTCULLIS__BACKUP__TO=/mnt/backup portcullis backup create --json | jq -r .backup.name")]
    Create(Format),
    /// List the backups, the newest first
    #[command(after_help = "\
Only the manifest of each is read. `portcullis backup verify` reads the whole of one.

Examples:
  portcullis backup list
  portcullis backup list --json | jq -r '.backups[] | select(.problem) | .name'")]
    List(Format),
    /// Read a backup back, and hold every byte and every row against its manifest
    #[command(after_help = "\
Without ID it is the newest. Rows that are encrypted to recipients are read only with --identity;
without it, every byte is checked all the same.

Examples:
  portcullis backup verify
  portcullis backup verify 0123456789abcdef --identity /media/key/age.txt

Exit codes: 0 everything is right, 1 something is not, 2 wrong usage.")]
    Verify(verifying::Arguments),
}

pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    let place = Place::of(settings)?;
    match command {
        Command::Create(format) => making::run(settings, &place, format),
        Command::List(format) => listing::run(&place, format),
        Command::Verify(arguments) => verifying::run(&place, &arguments),
    }
}

/// The folder of backups, and the keys that authenticate them.
struct Place {
    folder: Folder,
    keys: ArchiveKeys,
}

impl Place {
    fn of(settings: &Settings) -> Result<Self, Failure> {
        let folder = settings.backup.to.clone().ok_or_else(|| {
            Failure::new("no folder for backups is set").hint("set backup.to to a folder, or PORTCULLIS__BACKUP__TO")
        })?;
        Ok(Self { folder: Folder::new(folder), keys: known_keys(settings)? })
    }
}

/// Returns the keys that authenticate backups. No ENCRYPTION_KEY is made for them.
pub(super) fn known_keys(settings: &Settings) -> Result<ArchiveKeys, Failure> {
    let secrets = settings.known_encryption_secrets();
    let secrets = secrets.map_err(|error| Failure::of_error(&error).optional_hint(error.hint()))?;
    let secrets = secrets.ok_or_else(|| {
        Failure::new("there is no ENCRYPTION_KEY, and backups are authenticated under it")
            .hint("set ENCRYPTION_KEY, or name the data folder of the gateway with --data-dir")
    })?;
    Ok(ArchiveKeys::new(&secrets))
}

pub(super) fn describe(error: &BackupError) -> Failure {
    Failure::of_error(error).optional_hint(error.hint())
}

/// What a backup holds, as JSON.
fn manifest_json(manifest: &Manifest) -> Value {
    json!({
        "createdAt": rfc3339_millis(manifest.created_at.0),
        "appVersion": manifest.app_version,
        "engine": manifest.engine,
        "schemaVersion": manifest.schema_version,
        "recipients": manifest.recipients,
        "rows": manifest.rows(),
    })
}

/// Adds the members of one JSON object to another.
fn merged(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

/// Writes a size for people, in units of 1,000.
fn size(bytes: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_one_decimal_place() {
        for (bytes, text) in
            [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1.0 kB"), (1_999_999, "1.9 MB"), (12_345_678_901, "12.3 GB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
