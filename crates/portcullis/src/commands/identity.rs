//! Access to identity over the configured database, for commands that change users and keys.

use portcullis_identity::Identity;
use portcullis_settings::Settings;
use portcullis_storage::Store;

use super::output::Failure;
use super::runtime;

/// Opens identity, runs `work` with it, and closes the database.
pub(super) fn with_identity(
    settings: &Settings,
    work: impl AsyncFnOnce(&Identity, &Store) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = runtime::start()?;
    runtime.block_on(async {
        let opened = Box::pin(crate::assembly::offline::open_identity(settings)).await;
        let (identity, store) = opened.map_err(|error| Failure::of_error(&error).optional_hint(error.hint()))?;
        let done = Box::pin(work(&identity, &store)).await;
        store.close().await;
        done
    })
}
