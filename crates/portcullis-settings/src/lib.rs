//! The settings of Portcullis: loaded from all sources, checked as a whole, and then an immutable value.
//!
//! A flag wins over the environment, the environment over the file, the file over the default. Every problem is reported at
//! once, with its place and a hint, and nothing starts on settings with a problem.
//!
//! `engine` knows no section: it has the layers, the typed reader, the notices, "did you mean" and the reference page.
//! `sections` has one file for each section, with the documentation of its keys. A value is parsed once, into the type of
//! the crate that uses it (a [`DatabaseUrl`](portcullis_storage::DatabaseUrl), a [`Rate`](portcullis_model::Rate)); that is
//! why this crate depends on those crates. It does not know the built-in endpoints: their routes are passed in.

mod data_folder;
mod diagnosis;
mod engine;
mod load;
mod otel_variables;
mod path_spellings;
mod reserved_paths;
mod route_collisions;
mod sections;
mod settings;
mod unused_variables;
mod weak_passwords;

#[cfg(test)]
mod documentation;
#[cfg(test)]
mod reloading;
#[cfg(test)]
mod testing;

pub use data_folder::{DataFolderError, Secrets, new_secret};
pub use diagnosis::{accepted_settings, ages_of_secrets, refused_settings};
pub use diagnosis::{environment_secrets, kept_secrets};
pub use engine::changed_keys::SetKeys;
pub use engine::effective::{EffectiveKey, EffectiveSettings};
pub use engine::notice::{Notice, Place, Problems};
pub use engine::sources::{Flags, Sources, Stored};
pub use load::{load, secret_store};
pub use sections::backup::Backup;
pub use sections::database::Database;
pub use sections::demo::Demo;
pub use sections::listen::reachable;
pub use sections::log::parse_log_filter;
pub use sections::mail::Mail;
pub use sections::metrics::Metrics;
pub use sections::password::Password;
pub use sections::redis::Redis;
pub use sections::registration::{Registration, RegistrationMode};
pub use sections::routes::Route;
pub use sections::secrets::ConfiguredSecrets;
pub use sections::sentry::Sentry;
pub use sections::server::Server;
pub use sections::session::Session;
pub use sections::tracing::Tracing;
pub use sections::upstreams::{Queue, Upstream};
pub use sections::versions::{ApiVersions, default_version_hint};
pub use settings::Settings;

/// Renders the reference of all keys as Markdown, as the second part of `docs/settings.md` has it.
pub fn reference_page() -> String {
    engine::reference::render(sections::SECTIONS)
}
