//! `portcullis doctor`: which checks there are, and what each needs of the settings. The crates that the gateway depends on
//! make the checks; `portcullis-doctor` runs them.

mod clients;
mod dependencies;
mod gateway;
pub(crate) mod support_bundle;

use std::time::Duration;

use portcullis_doctor::{Check, disk, memory};
use portcullis_model::finding::Status;
use portcullis_model::policy::Environment;
use portcullis_model::{Clock, Finding};
use portcullis_settings::{Settings, Sources};
use portcullis_storage::DatabaseUrl;
use serde_json::{Value, json};

use crate::secret_store::{self, LoadError};
use crate::serve::open_files;

/// How long a check may take, unless it has a shorter limit of its own.
const LIMIT: Duration = Duration::from_secs(10);

/// The check of the store of secrets.
const STORE: &str = "secrets.store";

/// Runs every check, side by side. It changes nothing, and disturbs no running gateway.
pub(crate) async fn examine(sources: &mut Sources) -> Vec<Finding> {
    let settings = match secret_store::load(sources).await {
        Ok(settings) => settings,
        Err(error) => {
            let mut found = match &error {
                LoadError::Settings(problems) => portcullis_settings::refused_settings(problems),
                LoadError::Store(error) => vec![Finding::error(STORE, error, Some(error.hint()))],
            };
            found.extend(
                portcullis_doctor::run(vec![Check::blocking("machine.memory", LIMIT, || vec![memory::examine()])])
                    .await,
            );
            return found;
        }
    };
    examine_with(&settings, sources).await
}

/// The same with settings that were loaded.
pub(crate) async fn examine_with(settings: &Settings, sources: &Sources) -> Vec<Finding> {
    let clock = Clock::system();
    let mut found = portcullis_settings::accepted_settings(settings);
    found.push(portcullis_settings::ages_of_secrets(settings, sources, clock.now()));
    let gateway = gateway::find(settings).await;
    found.push(gateway.finding);
    if let (Ok(Some(store)), Some(stored)) = (secret_store::open(sources), secret_store::stored(sources)) {
        found.push(portcullis_secrets::diagnose(&store, stored).await);
    }
    let mut checks = vec![dependencies::database(settings)];
    checks.extend(dependencies::redis(settings, &clock));
    checks.extend(dependencies::mail(settings, &clock));
    checks.extend(dependencies::upstreams(settings));
    let (folder, is_needed) = (settings.data_dir.clone(), needs_folder(settings));
    checks.push(Check::blocking("disk.folder", LIMIT, move || disk::examine(&folder, is_needed)));
    let (files, process) = (open_files(settings), gateway.process);
    checks.push(Check::blocking("machine.memory", LIMIT, move || vec![memory::examine(), files.diagnose(process)]));
    found.extend(portcullis_doctor::run(checks).await);
    found
}

/// The report as JSON.
pub(crate) fn document(found: &[Finding]) -> Value {
    let worst = found.iter().map(|finding| finding.status).max().unwrap_or(Status::Pass);
    json!({ "version": env!("CARGO_PKG_VERSION"), "status": worst, "checks": found })
}

/// Whether the gateway keeps something in the data folder: SQLite's file, or the secrets that development makes.
fn needs_folder(settings: &Settings) -> bool {
    let holds_database =
        matches!(&settings.database.url, DatabaseUrl::Sqlite { path } if path.starts_with(&settings.data_dir));
    holds_database || settings.environment == Environment::Development
}
