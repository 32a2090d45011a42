//! `portcullis restore`: fills an empty database with a backup.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Instant;

use portcullis_backup::{ArchiveKeys, Folder, Manifest, RestoreOptions, RestoreProgress, Trust};
use portcullis_model::SecretString;
use portcullis_model::user::rfc3339_millis;
use portcullis_settings::Settings;
use portcullis_storage::DatabaseUrl;
use serde_json::json;

use super::backup::{describe, known_keys, read_identities};
use super::output::{Failure, print, print_json};
use super::progress::{RowProgress, rate};
use super::{Format, runtime};

#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The id of a backup, as `backup list` shows it, or the path of its file
    #[arg(value_name = "ID|FILE")]
    backup: String,
    /// The database to restore into; it must be empty [default: DATABASE_URL]
    #[arg(long, value_name = "URL", value_parser = secret)]
    into: Option<SecretString>,
    /// The file of a private key of age, for rows that are encrypted to recipients
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Let sessions and mailed links go on, instead of ending them
    #[arg(long)]
    keep_sessions: bool,
    /// End all API keys, because some may have been revoked after the backup
    #[arg(long)]
    end_keys: bool,
    /// Believe a backup that cannot be authenticated because its ENCRYPTION_KEY is lost
    #[arg(long, requires = "identity", conflicts_with = "keep_sessions")]
    unauthenticated: bool,
    #[command(flatten)]
    format: Format,
}

/// Accepts any text. It is parsed later, because the messages of clap would show the argument with its password.
#[expect(clippy::unnecessary_wraps, reason = "clap needs a value parser that returns a Result")]
fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::new(text))
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let target = target(settings, arguments)?;
    let file = file(settings, &arguments.backup)?;
    let identities = arguments.identity.as_deref().map(read_identities).transpose()?.unwrap_or_default();
    let keys: Option<ArchiveKeys> = if arguments.unauthenticated { None } else { Some(known_keys(settings)?) };
    let runtime = runtime::start()?;
    let mut progress = RowProgress::new(arguments.format);
    let begun = Instant::now();
    let options = RestoreOptions {
        file: &file,
        target: &crate::assembly::offline::options_for(settings, &target),
        trust: keys.as_ref().map_or(Trust::Nothing, Trust::Keys),
        identities: &identities,
        keep_sessions: arguments.keep_sessions,
        end_keys: arguments.end_keys,
    };
    let restoring = portcullis_backup::restore(options, &mut progress);
    let restored = runtime.block_on(Box::pin(restoring));
    progress.end();
    let manifest = restored.map_err(|error| describe(&error))?;
    show(&manifest, &target, arguments, begun.elapsed().as_secs_f64());
    Ok(())
}

fn target(settings: &Settings, arguments: &Arguments) -> Result<DatabaseUrl, Failure> {
    let Some(into) = &arguments.into else { return Ok(settings.database.url.clone()) };
    let parsed = DatabaseUrl::parse(into.expose());
    parsed.map_err(|reason| Failure::new("--into cannot be used").hint(reason.to_string()))
}

/// Returns the file that a path names, or the backup that has this id.
fn file(settings: &Settings, name: &str) -> Result<PathBuf, Failure> {
    if Path::new(name).is_file() || name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let Some(folder) = &settings.backup.to else {
        return Err(Failure::new(format!("there is no file {name}, and no folder of backups is set"))
            .hint("write the path of the backup's file, or set backup.to"));
    };
    let archive = Folder::new(folder).find(name).map_err(|error| describe(&error))?;
    Ok(folder.join(archive.name.to_string()))
}

fn show(manifest: &Manifest, target: &DatabaseUrl, arguments: &Arguments, seconds: f64) {
    let (rows, created_at) = (manifest.rows(), rfc3339_millis(manifest.created_at.0));
    let Arguments { keep_sessions, end_keys, unauthenticated, format, .. } = arguments;
    if format.json {
        print_json(&json!({ "restored": {
            "id": manifest.id,
            "createdAt": created_at,
            "into": target.to_string(),
            "rows": rows,
            "seconds": seconds,
            "sessionsEnded": !keep_sessions,
            "keysEnded": end_keys,
            "authenticated": !unauthenticated,
        } }));
        return;
    }
    let sessions =
        if *keep_sessions { "Sessions and mailed links go on" } else { "Every session and mailed link has ended" };
    let keys = match end_keys {
        true => "and so has every API key".to_owned(),
        false => "API keys go on, also those that were revoked later; --end-keys would have ended them".to_owned(),
    };
    print(&format!(
        "Restored the backup of {created_at} into {target}: {rows} rows in {seconds:.1} s ({} rows/s).\n\
         {sessions}; {keys}. Whatever was changed after that time is lost.\n\
         Start the gateway with this database and the same ENCRYPTION_KEY.\n",
        rate(rows, seconds)
    ));
}

impl RestoreProgress for RowProgress {
    fn table(&mut self, name: &'static str, rows: u64) {
        self.begin(name, rows, 0);
    }

    fn inserted(&mut self, rows: u64) {
        self.add(rows);
    }

    fn finishing(&mut self) {
        self.last_step("committing");
    }
}
