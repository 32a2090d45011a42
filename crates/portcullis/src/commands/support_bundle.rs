//! `portcullis support-bundle`: writes the bundle, or shows it.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_doctor::Bundle;
use portcullis_settings::Sources;

use super::output::{Failure, print};
use super::runtime;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The file to write [default: portcullis-support-<time>.tar.gz in the working folder]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the contents of the bundle and write nothing
    #[arg(long, conflicts_with = "output")]
    show: bool,
}

pub(super) fn run(mut sources: Sources, arguments: Arguments) -> Result<(), Failure> {
    let runtime = runtime::start()?;
    let bundle = runtime.block_on(Box::pin(crate::doctor::support_bundle::gather(&mut sources)));
    // A thread may still wait for a disk or a name server.
    runtime.shutdown_background();
    if arguments.show {
        print(&bundle.show());
        return Ok(());
    }
    let path = arguments.output.unwrap_or_else(|| format!("{}.tar.gz", bundle.name()).into());
    write(&bundle, &path)?;
    print(&format!("Wrote {}. Look at it before you send it: tar -xzOf {0} | less\n", path.display()));
    Ok(())
}

/// Writes a new file that only its owner may read.
fn write(bundle: &Bundle, path: &Path) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|file| bundle.write(file)).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AlreadyExists => "name another file with --output, or remove this one",
            _ => "name a file in a folder that you can write to with --output",
        };
        Failure::new(format!("the bundle cannot be written to {}: {error}", path.display())).hint(hint)
    })
}
