//! The check of `portcullis doctor`.

use std::time::Duration;

use portcullis_model::Finding;

use crate::{SecretStore, StoredSecrets};

const CHECK: &str = "secrets.store";
/// A token that nobody renews should be replaced before it has less than this left.
const SOON: Duration = Duration::from_secs(24 * 3600);

/// Reports what was read, and how long the access to the store lasts. It changes nothing.
pub async fn diagnose(store: &SecretStore, read: &StoredSecrets) -> Finding {
    let count = read.values.len();
    let text = format!(
        "{}, version {}, has {count} {}",
        read.store,
        read.version,
        if count == 1 { "value" } else { "values" }
    );
    let Some(token) = store.token().await else { return Finding::pass(CHECK, text) };
    match token.left() {
        None => Finding::pass(CHECK, format!("{text}; the token does not end")),
        Some(left) if !token.is_renewable() && left < SOON => Finding::warn(
            CHECK,
            format!("{text}; the token ends in {} minutes and cannot be renewed", left.as_secs() / 60),
            "write a new token into secrets.vault.token_file before then, unless an agent does",
        ),
        Some(left) => Finding::pass(CHECK, format!("{text}; the token ends in {} minutes", left.as_secs() / 60)),
    }
}
