//! Settings: loaded, checked whole, and then an immutable value.
//!
//! A flag comes before the environment, the environment before the file, the
//! file before the default. Everything that is wrong is told at once, with its
//! place and a hint; nothing starts on half of a configuration.

mod data_folder;
mod engine;
mod load;
mod reserved_variables;
mod route_collisions;
mod sections;

#[cfg(test)]
mod documentation;
#[cfg(test)]
mod testing;

use std::path::PathBuf;

use portcullis_gate::{CsrfMode, LimitsConfig, Origin, RouteSpec, Version};
use portcullis_model::policy::Environment;
use portcullis_model::{Random, RolePermissions};
use portcullis_telemetry::MetricsOptions;

pub use data_folder::{DataFolderError, Secrets, new_secret};
pub use engine::changed_keys::Written;
pub use engine::notice::{Notice, Place, Problems};
pub use engine::sources::{Flags, Sources};
pub use load::load;
pub use sections::database::Database;
pub use sections::demo::Demo;
pub use sections::listen::reachable;
pub use sections::log::{Log, LogFormat};
pub use sections::mail::Mail;
pub use sections::password::Password;
pub use sections::redis::Redis;
pub use sections::registration::{Registration, RegistrationMode};
pub use sections::routes::Route;
pub use sections::secrets::ConfiguredSecrets;
pub use sections::server::Server;
pub use sections::session::Session;
pub use sections::upstreams::Upstream;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `PORTCULLIS_ENV`, else `NODE_ENV`, else development.
    pub environment: Environment,
    /// Where SQLite's file and secrets made in development live; absolute, may not exist yet.
    pub data_dir: PathBuf,
    /// The file that was read, if there is one.
    pub config_file: Option<PathBuf>,
    /// `[server]`.
    pub server: Server,
    /// `[database]`.
    pub database: Database,
    /// `[audit]`: how long lines of the log are kept; `None` for ever.
    pub audit_kept: Option<std::time::Duration>,
    /// `[headers]`.
    pub headers: portcullis_gate::SecurityHeaderOptions,
    /// `[mail]`, when there is a server.
    pub mail: Option<Mail>,
    /// `[redis]`, when there is one.
    pub redis: Option<Redis>,
    /// `[secrets]`.
    pub secrets: ConfiguredSecrets,
    /// `[session]`.
    pub session: Session,
    /// `[registration]`.
    pub registration: Registration,
    /// `[password]`.
    pub password: Password,
    /// `[demo]`, when it is enabled.
    pub demo: Option<Demo>,
    /// `csrf.mode`.
    pub csrf_mode: CsrfMode,
    /// `cors.allowed_origins`.
    pub allowed_origins: Vec<String>,
    /// `[limits]`; both `None` when they are lifted.
    pub limits: LimitsConfig,
    /// `[versions.v1]` and others.
    pub versions: Vec<Version>,
    /// `[metrics]`.
    pub metrics: MetricsOptions,
    /// `[log]`.
    pub log: Log,
    /// What each role holds, `[roles]` included.
    pub roles: RolePermissions,
    /// `[upstreams.<name>]`.
    pub upstreams: Vec<Upstream>,
    /// `[[routes]]`.
    pub routes: Vec<Route>,
    /// Which keys were written, to tell what a reload changes.
    pub written: Written,
    /// What is probably a mistake: shown at the start and by `portcullis check`.
    pub warnings: Vec<Notice>,
    /// What could be safer: shown by `portcullis check`.
    pub advice: Vec<Notice>,
}

impl Settings {
    /// The proxied routes as the gate's table takes them. They do not collide
    /// with each other, nor with the built-in endpoints.
    pub fn route_specs(&self) -> Vec<RouteSpec> {
        self.routes.iter().map(Route::spec).collect()
    }

    /// The origin of `PUBLIC_URL`.
    pub fn public_origin(&self) -> Option<Origin> {
        self.server.public_url.as_ref().and_then(Origin::of)
    }

    /// What links begin with, without a slash at the end: `PUBLIC_URL`, else where it listens.
    pub fn base_url(&self) -> String {
        match &self.server.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{}", reachable(self.server.listen)),
        }
    }

    /// The secrets in force. In development the missing ones are read from the data
    /// folder, or made there; the folder itself is made when it is needed.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be made, read or written.
    pub fn keep_secrets(&self, random: &Random) -> Result<Secrets, DataFolderError> {
        data_folder::keep_secrets(self, random)
    }
}
