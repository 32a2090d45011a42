//! `portcullis keys`: the secrets that production needs, and the keys that sign access tokens.

use std::fs::OpenOptions;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use portcullis_identity::{Caller, Identity, KeyDetails, KeyPhase, RotationError, SigningAlgorithm};
use portcullis_model::Random;
use portcullis_model::user::rfc3339_millis;
use portcullis_settings::{Settings, new_secret};
use serde_json::{Value, json};

use super::identity::with_identity;
use super::output::{Failure, print, print_error, print_json};
use super::{Format, table};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make CSRF_SECRET and ENCRYPTION_KEY, as lines for an environment file
    #[command(after_help = "\
Make them once, give every replica the same, and keep them as long as the database: values that
ENCRYPTION_KEY has sealed cannot be opened without it. Each is 32 random bytes in hexadecimal.

Examples:
  portcullis keys init --output gate.env
  portcullis keys init | ssh gateway 'umask 077; cat > /etc/gate.env'
  docker run --env-file gate.env …")]
    Init(Init),
    /// List the keys that sign access tokens
    #[command(after_help = "\
A key is `next` before it signs, then `signing`; after that it is `checking` while tokens that it
signed may be valid, `spent` when none can be, and `retired`.

Examples:
  portcullis keys list
  portcullis keys list --json | jq -r '.keys[] | select(.phase == \"spent\") | .kid'")]
    List(Format),
    /// Make the next key that signs access tokens
    #[command(after_help = "\
The new key signs a minute later, when every replica and every reader of the JWKS knows it. Tokens
of the key before it stay valid. Retire that key when it is spent.

Examples:
  portcullis keys rotate
  portcullis keys rotate --algorithm ES256")]
    Rotate(Rotate),
    /// Refuse all tokens that a key has signed, from now on
    #[command(after_help = "\
A key whose tokens may still be valid is not retired, unless you add --force because the key has
leaked; users with such a token then refresh it or sign in again.

Examples:
  portcullis keys retire kP3xDPzT5CJbkk8Qz3hV0V7b8h8C9KQ1R8mQyMiV0zE")]
    Retire(Retire),
    /// Seal the signing keys with the first ENCRYPTION_KEY, so that an older one can be removed
    #[command(after_help = "\
To replace ENCRYPTION_KEY: add the new one on a line below the old one on every replica, and reload
each (SIGHUP). Move the new one to the first line and reload again. Run this command. Then remove the
old one.

Examples:
  ENCRYPTION_KEY_FILE=/run/secrets/encryption portcullis keys reseal")]
    Reseal(Format),
}

#[derive(clap::Args, Debug)]
pub(super) struct Init {
    /// Write a new file that only its owner can read, instead of printing
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

#[derive(clap::Args, Debug)]
pub(super) struct Rotate {
    /// The algorithm: EdDSA or ES256 [default: session.signing_algorithm]
    #[arg(long)]
    algorithm: Option<SigningAlgorithm>,
    #[command(flatten)]
    format: Format,
}

#[derive(clap::Args, Debug)]
pub(super) struct Retire {
    /// The id of the key, as `keys list` shows it
    // One id in 64 begins with a hyphen.
    #[arg(allow_hyphen_values = true)]
    kid: String,
    /// Retire it even while tokens that it signed may be valid
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    format: Format,
}

/// Runs a command that needs the database.
pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    with_identity(settings, async |identity, _| {
        let caller = Caller::shell();
        match command {
            Command::Init(arguments) => init(arguments),
            Command::List(format) => list(identity, format).await,
            Command::Rotate(Rotate { algorithm, format }) => {
                let algorithm = algorithm.unwrap_or(settings.session.signing_algorithm);
                let made = identity.signing_keys.rotate(algorithm, &caller).await.map_err(|error| describe(&error))?;
                if format.json {
                    print_json(&json!({ "key": key_json(&made) }));
                } else {
                    let from = rfc3339_millis(made.signs_from);
                    print(&format!("Made {} ({}). It signs from {from}.\n", made.kid, made.algorithm));
                }
                Ok(())
            }
            Command::Retire(Retire { kid, force, format }) => {
                identity.signing_keys.retire(&kid, force, &caller).await.map_err(|error| describe(&error))?;
                if format.json {
                    print_json(&json!({ "retired": kid }));
                } else {
                    print(&format!("Retired {kid}. Within seconds no replica accepts tokens that it signed.\n"));
                }
                Ok(())
            }
            Command::Reseal(format) => {
                let count = identity.signing_keys.reseal(&caller).await.map_err(|error| describe(&error))?;
                if format.json {
                    print_json(&json!({ "resealed": count }));
                } else {
                    print(&format!("Sealed {count} keys with the first ENCRYPTION_KEY.\n"));
                }
                Ok(())
            }
        }
    })
}

async fn list(identity: &Identity, format: Format) -> Result<(), Failure> {
    let keys = identity.signing_keys.list().await.map_err(|error| describe(&error))?;
    if format.json {
        print_json(&json!({ "keys": keys.iter().map(key_json).collect::<Vec<_>>() }));
        return Ok(());
    }
    let row = |key: &KeyDetails| {
        let until = match key.phase {
            KeyPhase::Checking => key.spent_at.map(rfc3339_millis).unwrap_or_default(),
            _ => String::new(),
        };
        vec![
            key.kid.clone(),
            key.algorithm.clone(),
            key.phase.as_str().to_owned(),
            rfc3339_millis(key.signs_from),
            until,
        ]
    };
    let header = ["KEY", "ALGORITHM", "PHASE", "SIGNS FROM", "TOKENS VALID UNTIL"];
    print(&table::render(&header, &keys.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

fn key_json(key: &KeyDetails) -> Value {
    json!({
        "kid": key.kid,
        "algorithm": key.algorithm,
        "phase": key.phase.as_str(),
        "createdAt": rfc3339_millis(key.created_at),
        "signsFrom": rfc3339_millis(key.signs_from),
        "spentAt": key.spent_at.map(rfc3339_millis),
        "retiredAt": key.retired_at.map(rfc3339_millis),
    })
}

fn describe(error: &RotationError) -> Failure {
    Failure::of_error(error).optional_hint(error.hint().map(str::to_owned))
}

/// Makes the secrets; it needs neither a database nor settings.
pub(super) fn init(arguments: Init) -> Result<(), Failure> {
    let Init { output, format } = arguments;
    let random = Random::system();
    let (csrf, encryption) = (new_secret(&random), new_secret(&random));
    if format.json {
        print_json(&json!({ "CSRF_SECRET": csrf.expose(), "ENCRYPTION_KEY": encryption.expose() }));
        return Ok(());
    }
    let lines = format!("CSRF_SECRET={}\nENCRYPTION_KEY={}\n", csrf.expose(), encryption.expose());
    match output {
        Some(path) => {
            write_new(&path, &lines)?;
            print(&format!("Wrote CSRF_SECRET and ENCRYPTION_KEY to {}.\n", path.display()));
        }
        None => {
            print(&lines);
            if std::io::stdout().is_terminal() {
                print_error(
                    "hint: these are shown once; store them where every replica can read them and nobody else can\n",
                );
            }
        }
    }
    Ok(())
}

/// Writes a new file. An existing one is not overwritten, because it may hold secrets in use.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(format!("{} exists already; nothing was written", path.display()))
            .hint("name another file, or move this one away first: it may hold secrets in use"),
        _ => Failure::new(format!("cannot write {}: {error}", path.display()))
            .hint("name a file in a folder that you can write to"),
    })
}
