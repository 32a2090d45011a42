//! Where settings come from: the command line, the environment and the working folder.

use std::ffi::OsString;
use std::path::PathBuf;

use portcullis_secrets::StoredSecrets;

/// The command-line options that set something; they win over the environment and the file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`: the settings file, relative to the working folder.
    pub config: Option<PathBuf>,
    /// `--host`: the address to listen on.
    pub host: Option<String>,
    /// `--port`: the port to listen on.
    pub port: Option<u16>,
    /// `--data-dir`: the data folder.
    pub data_dir: Option<PathBuf>,
}

/// All sources of settings as one value, so that a test needs no process of its own.
/// It is not `Debug`, because the environment holds secrets.
#[derive(Clone)]
pub struct Sources {
    /// The command-line options.
    pub flags: Flags,
    /// The variables of the process.
    pub environment: Vec<(OsString, OsString)>,
    /// The working folder, to which relative paths refer.
    pub folder: PathBuf,
    /// What the store of secrets holds, if the settings name one.
    pub stored: Stored,
}

/// What is known of the store of secrets.
#[derive(Clone, Default)]
pub enum Stored {
    /// It was not asked. If the settings name one, no secret counts as missing.
    #[default]
    NotAsked,
    /// It was read.
    Read(StoredSecrets),
}

impl Sources {
    /// Takes the environment and the working folder of this process.
    ///
    /// # Errors
    /// When the working folder no longer exists or may not be read.
    pub fn from_process(flags: Flags) -> std::io::Result<Self> {
        Ok(Self {
            flags,
            environment: std::env::vars_os().collect(),
            folder: std::env::current_dir()?,
            stored: Stored::NotAsked,
        })
    }
}
