//! Reads the store of secrets before the settings are loaded, because a part of them is there.

use std::time::Duration;

use portcullis_model::Clock;
use portcullis_secrets::{SecretStore, StoreError, StoredSecrets};
use portcullis_settings::{Problems, Settings, Sources, Stored};

/// Why settings could not be loaded.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The store of secrets cannot be read.
    Store(StoreError),
    /// The settings have problems.
    Settings(Problems),
}

/// The pauses between the tries of a start. After the last of them the start fails.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// Loads the settings, with the secrets of the store if they name one.
pub(crate) async fn load(sources: &mut Sources) -> Result<Settings, LoadError> {
    read(sources).await.map_err(LoadError::Store)?;
    load_read(sources)
}

/// The same for a start: tries again while the failure may pass, and tells each one.
pub(crate) async fn load_at_start(
    sources: &mut Sources,
    tell: impl Fn(&StoreError, Duration),
) -> Result<Settings, LoadError> {
    for pause in PAUSES {
        match read(sources).await {
            Ok(()) => return load_read(sources),
            Err(error) if error.may_pass() => tell(&error, pause),
            Err(error) => return Err(LoadError::Store(error)),
        }
        tokio::time::sleep(pause).await;
    }
    load(sources).await
}

/// Reads the store that the settings name, if any.
pub(crate) async fn read(sources: &mut Sources) -> Result<(), StoreError> {
    sources.stored = match open(sources)? {
        Some(store) => Stored::Read(store.read().await?),
        None => Stored::NotAsked,
    };
    Ok(())
}

/// Prepares the store that the settings name, if any.
pub(crate) fn open(sources: &Sources) -> Result<Option<SecretStore>, StoreError> {
    let options = portcullis_settings::secret_store(sources);
    options.map(|options| SecretStore::new(&options, &Clock::system())).transpose()
}

/// What was read of the store.
pub(crate) fn stored(sources: &Sources) -> Option<&StoredSecrets> {
    match &sources.stored {
        Stored::Read(stored) => Some(stored),
        Stored::NotAsked => None,
    }
}

fn load_read(sources: &Sources) -> Result<Settings, LoadError> {
    portcullis_settings::load(sources, &portcullis_api::route_specs()).map_err(LoadError::Settings)
}
