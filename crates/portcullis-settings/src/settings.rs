//! The settings as a whole.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_gate::{AccessLog, CsrfMode, LimitsConfig, Origin, Propagation, RouteSpec, SecurityHeaderOptions};
use portcullis_model::policy::Environment;
use portcullis_model::{Random, RolePermissions, SecretRing};
use portcullis_secrets::StoreOptions;
use portcullis_telemetry::LogOptions;
use portcullis_telemetry::traces::TraceOptions;

use crate::data_folder::{self, DataFolderError, Secrets};
use crate::engine::changed_keys::SetKeys;
use crate::engine::effective::EffectiveSettings;
use crate::engine::notice::Notice;
use crate::sections::backup::Backup;
use crate::sections::database::Database;
use crate::sections::demo::Demo;
use crate::sections::listen::reachable;
use crate::sections::mail::Mail;
use crate::sections::password::Password;
use crate::sections::redis::Redis;
use crate::sections::registration::Registration;
use crate::sections::routes::Route;
use crate::sections::secrets::ConfiguredSecrets;
use crate::sections::sentry::Sentry;
use crate::sections::server::Server;
use crate::sections::session::Session;
use crate::sections::tracing::Tracing;
use crate::sections::upstreams::Upstream;
use crate::sections::versions::ApiVersions;

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The environment: `PORTCULLIS_ENV`, else `NODE_ENV`, else development.
    pub environment: Environment,
    /// The absolute path of the folder for SQLite's file and the secrets made in development. It may not exist yet.
    pub data_dir: PathBuf,
    /// The settings file, if one was read.
    pub config_file: Option<PathBuf>,
    /// The section `[server]`.
    pub server: Server,
    /// The section `[database]`.
    pub database: Database,
    /// How long entries of the audit log are kept (`audit.keep`); `None` for ever.
    pub audit_kept: Option<Duration>,
    /// The section `[backup]`.
    pub backup: Backup,
    /// The section `[headers]`.
    pub headers: SecurityHeaderOptions,
    /// The section `[mail]`, if a mail server is set.
    pub mail: Option<Mail>,
    /// The section `[redis]`, if a Redis server is set.
    pub redis: Option<Redis>,
    /// The section `[secrets]`.
    pub secrets: ConfiguredSecrets,
    /// The store that holds secrets (`secrets.vault`, `secrets.aws`), if there is one.
    pub secret_store: Option<StoreOptions>,
    /// How often a running gateway reads the store again.
    pub secret_refresh: Duration,
    /// The section `[session]`.
    pub session: Session,
    /// The section `[registration]`.
    pub registration: Registration,
    /// The section `[password]`.
    pub password: Password,
    /// The section `[demo]`, if the demo account is enabled.
    pub demo: Option<Demo>,
    /// The requests that need a CSRF token (`csrf.mode`).
    pub csrf_mode: CsrfMode,
    /// The origins whose pages may read responses (`cors.allowed_origins`).
    pub allowed_origins: Vec<String>,
    /// The section `[limits]`; every limit is `None` when `limits.enabled` is false.
    pub limits: LimitsConfig,
    /// The sections `[versions]` and `[versions.<version>]`.
    pub versions: ApiVersions,
    /// The section `[metrics]`.
    pub metrics: crate::Metrics,
    /// The lines of events: `log.level` and `log.format`.
    pub log: LogOptions,
    /// Which requests the access log shows (`log.access`, `log.slow`).
    pub access_log: AccessLog,
    /// The section `[tracing]`.
    pub tracing: Tracing,
    /// The section `[sentry]`.
    pub sentry: Sentry,
    /// Where traces are sent (`OTEL_*`); `None` if they are not.
    pub traces: Option<TraceOptions>,
    /// How requests name their trace (`OTEL_PROPAGATORS`).
    pub propagation: Propagation,
    /// The permissions of each role: the built-in ones and those of the section `[roles]`.
    pub roles: RolePermissions,
    /// The sections `[upstreams.<name>]`.
    pub upstreams: Vec<Upstream>,
    /// The list `[[routes]]`.
    pub routes: Vec<Route>,
    /// The keys that were set, to tell at a reload which of them changed.
    pub set_keys: SetKeys,
    /// Every key with its value, as it can be shown.
    pub effective: EffectiveSettings,
    /// Probable mistakes, shown at the start and by `portcullis check`.
    pub warnings: Vec<Notice>,
    /// Ways to make the installation safer, shown by `portcullis check`.
    pub advice: Vec<Notice>,
}

impl Settings {
    /// Returns the proxied routes as the route table takes them. They collide neither with each other nor with the
    /// built-in endpoints.
    pub fn route_specs(&self) -> Vec<RouteSpec> {
        self.routes.iter().map(Route::spec).collect()
    }

    /// Returns the origin of `PUBLIC_URL`.
    pub fn public_origin(&self) -> Option<Origin> {
        self.server.public_url.as_ref().and_then(Origin::of)
    }

    /// Returns the beginning of links, without a slash at the end: `PUBLIC_URL`, else the address it listens on.
    pub fn base_url(&self) -> String {
        match &self.server.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{}", reachable(self.server.listen)),
        }
    }

    /// Returns the secrets in force. In development missing ones are read from the data folder, or made there; the folder
    /// is made when it is needed.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be made, read or written.
    pub fn load_or_create_secrets(&self, random: &Random) -> Result<Secrets, DataFolderError> {
        data_folder::load_or_create_secrets(&self.secrets, &self.data_dir, &self.database.url, random)
    }

    /// Returns the secrets that seal values in the database, configured or kept in the data folder; `None` if there are
    /// none. Nothing is made.
    ///
    /// # Errors
    /// When the file in the data folder cannot be read.
    pub fn known_encryption_secrets(&self) -> Result<Option<SecretRing>, DataFolderError> {
        data_folder::known_encryption_secrets(&self.secrets, &self.data_dir)
    }

    /// Returns the settings in force after a reload: the live keys as `read` has them, all others as they were at the
    /// start. A key that is declared live has its value taken here; a test compares the two.
    #[must_use]
    pub fn reloaded(&self, read: Self) -> Self {
        Self {
            server: Server {
                public_url: read.server.public_url,
                trusted_proxies: read.server.trusted_proxies,
                max_body: read.server.max_body,
                body_timeout: read.server.body_timeout,
                ..self.server.clone()
            },
            session: Session { clock_leeway: read.session.clock_leeway, ..self.session.clone() },
            backup: read.backup,
            headers: read.headers,
            secrets: read.secrets,
            secret_store: read.secret_store,
            secret_refresh: read.secret_refresh,
            csrf_mode: read.csrf_mode,
            allowed_origins: read.allowed_origins,
            limits: read.limits,
            versions: read.versions,
            tracing: read.tracing,
            log: LogOptions { filter: read.log.filter, ..self.log.clone() },
            access_log: read.access_log,
            roles: read.roles,
            upstreams: read.upstreams,
            routes: read.routes,
            warnings: read.warnings,
            advice: read.advice,
            ..self.clone()
        }
    }

    /// Returns the settings in force after the store of secrets was read again: the live secrets as `read` has them, all
    /// else as it was.
    #[must_use]
    pub fn with_secrets_of(&self, read: Self) -> Self {
        Self { secrets: read.secrets, ..self.clone() }
    }

    /// Takes over the address of the database, whose new login is in force.
    pub fn take_database_url(&mut self, read: &Self) {
        self.database.url = read.database.url.clone();
        self.set_keys.take(&read.set_keys, &["database.url", "database.direct_url"]);
    }

    /// Names the secrets whose values differ in `read` and wait for a restart, sorted.
    pub fn secrets_waiting_for_restart(&self, read: &Self) -> Vec<String> {
        self.set_keys.secrets_waiting_for_restart(&read.set_keys)
    }

    /// Names the keys whose values differ in `read` and wait for a restart, sorted. `self` holds the settings of the start.
    pub fn waiting_for_restart(&self, read: &Self) -> Vec<String> {
        let mut waiting = self.set_keys.waiting_for_restart(&read.set_keys);
        // Its default follows `server.public_url`, which is live.
        let issuer = "session.issuer".to_owned();
        if self.session.issuer != read.session.issuer && !waiting.contains(&issuer) {
            waiting.push(issuer);
            waiting.sort();
        }
        waiting
    }
}
