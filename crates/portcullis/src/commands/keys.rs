//! `portcullis keys init`: the secrets that production needs.

use std::fs::OpenOptions;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use portcullis_model::Random;
use serde_json::json;

use super::Format;
use super::output::{Failure, print, print_error, print_json};
use crate::settings::new_secret;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make CSRF_SECRET and ENCRYPTION_KEY, as lines for an environment file
    #[command(after_help = "\
Make them once, give every replica the same, and keep them as long as the database: what
ENCRYPTION_KEY sealed cannot be opened without it. Each is 32 random bytes in hexadecimal.

Examples:
  portcullis keys init --output gate.env
  portcullis keys init | ssh gateway 'umask 077; cat > /etc/gate.env'
  docker run --env-file gate.env …")]
    Init {
        /// Write a new file that only its owner can read, instead of printing
        #[arg(long, value_name = "FILE", conflicts_with = "json")]
        output: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let Command::Init { output, format } = command;
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
            print(&format!("{} holds CSRF_SECRET and ENCRYPTION_KEY now.\n", path.display()));
        }
        None => {
            print(&lines);
            if std::io::stdout().is_terminal() {
                print_error("hint: these are shown once; keep them where every replica finds them, and nobody else\n");
            }
        }
    }
    Ok(())
}

/// Writes a file that did not exist: secrets in use are never overwritten.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(format!("{} exists already; nothing was written", path.display()))
            .hint("secrets in use must not be lost: name another file, or move this one away first"),
        _ => Failure::new(format!("cannot write {}: {error}", path.display()))
            .hint("name a file in a folder that you can write"),
    })
}
