//! What goes into a support bundle.

use portcullis_api::ErrorEntry;
use portcullis_doctor::{Bundle, facts};
use portcullis_model::finding::with_causes;
use portcullis_model::user::rfc3339_millis;
use portcullis_model::{Clock, Random};
use portcullis_settings::{Settings, Sources};
use portcullis_storage::{Diagnosis, MigrationStatus};
use portcullis_telemetry::Metrics;
use portcullis_telemetry::errors::scrubbed;
use serde_json::{Value, json};

use crate::assembly::store_options;
use crate::secret_store;

/// The most errors that a bundle has.
const MOST_ERRORS: u64 = 200;
const DOCTOR: &str = "what `portcullis doctor --json` says";
const SETTINGS: &str = "the settings in force, each with its place; secrets are hidden";
const METRICS: &str = "the metrics of the running gateway";
const ERRORS: &str = "the gateway's last errors, grouped";
const MIGRATIONS: &str = "the migrations of the schema";

/// Gathers the bundle. What cannot be had is noted in its manifest. It changes nothing, and reads no row of a user.
pub(crate) async fn gather(sources: &mut Sources) -> Bundle {
    let loaded = secret_store::load(sources).await;
    let mut secrets = portcullis_settings::environment_secrets(sources);
    if let Ok(settings) = &loaded {
        secrets.extend(settings.effective.secrets.iter().cloned());
        secrets.extend(portcullis_settings::kept_secrets(settings));
    }
    let mut bundle = Bundle::new(Clock::system().now(), &secrets);
    bundle.add_json("version.json", "the version of Portcullis", &version());
    bundle.add_json("system.json", "system, kernel, memory, limits", &facts::gather());
    match &loaded {
        Ok(settings) => add_all(&mut bundle, settings, sources).await,
        Err(_) => {
            bundle.add_json("doctor.json", DOCTOR, &super::document(&super::examine(sources).await));
            for name in ["settings.json", "metrics.txt", "errors.json", "migrations.json"] {
                bundle.lacks(name, "the settings have problems, which doctor.json lists");
            }
        }
    }
    bundle
}

async fn add_all(bundle: &mut Bundle, settings: &Settings, sources: &Sources) {
    bundle.add_json("settings.json", SETTINGS, &settings.effective.keys);
    let found = Box::pin(super::examine_with(settings, sources)).await;
    bundle.add_json("doctor.json", DOCTOR, &super::document(&found));
    match crate::commands::ask_gateway(settings, "GET", "/metrics") {
        Ok(Value::String(text)) => bundle.add("metrics.txt", METRICS, &text),
        Ok(_) => bundle.lacks("metrics.txt", "the running gateway is of another version"),
        Err(why) => bundle.lacks("metrics.txt", why),
    }
    if let Err(why) = Box::pin(add_from_database(bundle, settings)).await {
        for name in ["migrations.json", "errors.json"] {
            bundle.lacks(name, &why);
        }
    }
}

async fn add_from_database(bundle: &mut Bundle, settings: &Settings) -> Result<(), String> {
    let metrics = Metrics::new(&settings.metrics.families, env!("CARGO_PKG_VERSION"));
    let options = store_options(settings, &Clock::system(), &Random::system(), &metrics);
    let diagnosis = Diagnosis::open(options, &mut Vec::new()).await.ok_or("see database.connection in doctor.json")?;
    let (mut diagnosis, status) = diagnosis.migrations().await;
    let status = status.map_err(|error| with_causes(&error))?;
    bundle.add_json("migrations.json", MIGRATIONS, &migrations(&status));
    match diagnosis.last_errors(MOST_ERRORS).await {
        Ok(groups) => {
            // They were scrubbed when they were written, maybe by a version that knew less.
            let groups = groups.into_iter().map(|mut group| {
                group.message = scrubbed(&group.message);
                ErrorEntry::from(group)
            });
            bundle.add_json("errors.json", ERRORS, &groups.collect::<Vec<_>>());
        }
        Err(error) => bundle.lacks("errors.json", with_causes(&error)),
    }
    diagnosis.close().await;
    Ok(())
}

fn migrations(status: &MigrationStatus) -> Value {
    let applied = status.applied.iter().map(
        |step| json!({ "version": step.version, "name": step.name, "at": rfc3339_millis(step.at), "by": step.by }),
    );
    json!({
        "engine": status.engine,
        "schema": status.found,
        "known": status.known,
        "serves": status.serves,
        "applied": applied.collect::<Vec<_>>(),
        "pending": status.pending.iter().map(|step| step.version).collect::<Vec<_>>(),
    })
}

fn version() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "debug": cfg!(debug_assertions),
    })
}
