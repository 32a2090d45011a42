//! Access to identity over the configured database, for commands that change users and keys.

use portcullis_identity::Identity;
use portcullis_storage::Store;

use super::output::Failure;
use portcullis_settings::Settings;

/// Opens identity, runs `work` with it, and closes the database.
pub(super) fn with_identity(
    settings: &Settings,
    work: impl AsyncFnOnce(&Identity, &Store) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the command cannot be run: {error}")))?;
    runtime.block_on(async {
        let opened = Box::pin(crate::assembly::offline::open_identity(settings)).await;
        let (identity, store) = opened.map_err(|error| Failure::of_error(&error).maybe_hint(error.hint()))?;
        let done = Box::pin(work(&identity, &store)).await;
        store.close().await;
        done
    })
}
