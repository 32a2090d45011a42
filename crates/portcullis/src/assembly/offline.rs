//! Opens parts of the gateway for commands that work on its data without serving.

use portcullis_backup::{ArchiveKeys, BackupError, BackupOptions, BackupProgress, CreatedBackup, Folder};
use portcullis_identity::Identity;
use portcullis_model::{Clock, Random};
use portcullis_storage::{
    DatabaseUrl, ForeignTable, MigrateMode, Migrator, OpenError, Store, StoreOptions, TransferError, TransferProgress,
    TransferredTable,
};
use portcullis_telemetry::Metrics;

use super::{SharedParts, StartError, session_cache, start_identity, store_options};
use portcullis_settings::Settings;

/// Opens the configured database, which must have the newest schema, and identity over it.
pub async fn open_identity(settings: &Settings) -> Result<(Identity, Store), StartError> {
    let (clock, random) = (Clock::system(), Random::system());
    let metrics = Metrics::new(&settings.metrics.families, env!("CARGO_PKG_VERSION"));
    let options = StoreOptions { migrate: MigrateMode::Command, ..store_options(settings, &clock, &random, &metrics) };
    let store = Box::pin(Store::open(options)).await?;
    // Secrets are made beside a database only, so that a command in the wrong folder leaves nothing there.
    let secrets = settings.load_or_create_secrets(&random)?;
    let sessions = session_cache(settings, &store, None);
    let parts = SharedParts { store: &store, sessions: &sessions, clock: &clock, random: &random, metrics: &metrics };
    let identity = start_identity(settings, secrets, parts, &settings.base_url()).await?;
    Ok((identity, store))
}

/// Connects to the configured database to read or change its schema.
pub async fn open_migrator(settings: &Settings) -> Result<Migrator, OpenError> {
    Migrator::connect(&configured_store(settings)).await
}

/// Moves all data from one database to another, with the pool and timeouts of the configured one.
pub async fn transfer(
    settings: &Settings,
    from: &DatabaseUrl,
    to: &DatabaseUrl,
    restart: bool,
    progress: &mut dyn TransferProgress,
) -> Result<Vec<TransferredTable>, TransferError> {
    let (from, to) = (options_for(settings, from), options_for(settings, to));
    portcullis_storage::transfer(&from, &to, restart, progress).await
}

/// Returns the options with which a command opens another database than the configured one.
pub fn options_for(settings: &Settings, url: &DatabaseUrl) -> StoreOptions {
    StoreOptions { url: url.clone(), ..configured_store(settings) }
}

/// Makes a backup of the configured database in a folder.
pub async fn back_up(
    settings: &Settings,
    folder: &Folder,
    keys: &ArchiveKeys,
    progress: &mut dyn BackupProgress,
) -> Result<CreatedBackup, BackupError> {
    let database = &configured_store(settings);
    let options = BackupOptions { database, folder, keys, recipients: &settings.backup.recipients };
    portcullis_backup::create(options, progress).await
}

/// Opens the table of users of another program, from which users are imported.
pub async fn open_foreign_table(
    settings: &Settings,
    url: &DatabaseUrl,
    table: &str,
) -> Result<ForeignTable, OpenError> {
    let options = StoreOptions { url: url.clone(), ..configured_store(settings) };
    ForeignTable::open(&options, table).await
}

fn configured_store(settings: &Settings) -> StoreOptions {
    let metrics = Metrics::new(&settings.metrics.families, env!("CARGO_PKG_VERSION"));
    store_options(settings, &Clock::system(), &Random::system(), &metrics)
}
