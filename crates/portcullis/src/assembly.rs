//! Builds the application from the settings: makes each part, in order, and connects them.

mod background;
mod clock_check;
pub mod dry_run;
mod error;
mod error_writer;
mod front;
mod mail_sender;
mod memory_limit;
pub mod offline;
#[cfg(test)]
mod panic_tests;
mod response_body;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use portcullis_api::{DatabaseReading, Lifecycle, Services, SharedStatus};
use portcullis_gate::{
    AllowedOrigins, CsrfConfig, CsrfTokens, Gate, GateConfig, GateParts, Limits, RouteSpec, RouteTable, SecurityHeaders,
};
use portcullis_identity::{
    DemoOptions, HashingOptions, Identity, IdentityOptions, IdentityParts, PasswordHasher, RegistrationOptions,
    SessionLifetimes,
};
use portcullis_jobs::{HousekeepingOptions, Jobs, housekeeping};
use portcullis_model::mail::MailSender;
use portcullis_model::policy::Environment;
use portcullis_model::{Clock, Random, SessionSource};
use portcullis_proxy::{Proxy, ProxyParts, TargetLimits, Upstream, Upstreams};
use portcullis_redis::{Redis, RedisOptions};
use portcullis_sessions::{RevocationFeed, SessionCache, SessionCacheOptions};
use portcullis_settings::{Secrets, Sentry, Settings};
use portcullis_storage::{DatabaseUrl, GENERATION, Store, StoreOptions};
use portcullis_telemetry::errors::SentryOptions;
use portcullis_telemetry::{Errors, Metrics, ReadMetric};

pub use clock_check::WrongClock;
pub(crate) use clock_check::check_clock;
pub use error::StartError;
pub(crate) use front::Front;
pub(crate) use mail_sender::smtp_options;

/// The running gateway's parts.
pub(crate) struct Application {
    pub(crate) front: Arc<Front>,
    /// Handles the requests of the listener of metrics, if they have one of their own.
    pub(crate) metrics_front: Option<Arc<Front>>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) sessions: Arc<SessionCache>,
    feed: Arc<RevocationFeed>,
    jobs: Arc<Jobs>,
    pub(crate) store: Store,
    pub(crate) redis: Option<Redis>,
    mail: Option<Arc<dyn MailSender>>,
    pub(crate) metrics: Metrics,
    pub(crate) errors: Errors,
    /// The release that errors are recorded under.
    release: String,
}

impl Application {
    /// Opens Redis and the database, starts identity, and connects the gate, the proxy and the endpoints to them.
    pub(crate) async fn build(
        settings: &Settings,
        secrets: Secrets,
        random: Random,
        base_url: &str,
        lifecycle: Arc<Lifecycle>,
    ) -> Result<Self, StartError> {
        let clock = Clock::system();
        let metrics = Metrics::new(&settings.metrics.families, env!("CARGO_PKG_VERSION"));
        let errors = errors(settings, &metrics, &clock);
        let mail = mail_sender::from_settings(settings)?;
        if matches!(settings.database.url, DatabaseUrl::Sqlite { .. }) {
            check_clock(&clock)?;
        }
        let store = Box::pin(Store::open(store_options(settings, &clock, &random, &metrics))).await?;
        // With PostgreSQL it is the database's time by now.
        check_clock(&clock)?;
        let redis = connect_redis(settings, &secrets, &store, &random, &metrics).await?;
        let sessions = session_cache(settings, &store, redis.as_ref());
        let feed = RevocationFeed::new(&store, &sessions);
        if let Some(redis) = &redis {
            store.set_replica_notifier(redis.notifier());
        }
        let options = HousekeepingOptions {
            audit_kept: settings.audit_kept,
            unconfirmed_kept: settings.registration.keep_unconfirmed,
        };
        let jobs = Jobs::new(&store, random.clone(), errors.clone(), housekeeping(&store, &sessions, options));
        // So that the first request's session can be cached. If it fails, the feed's task reads the log.
        if let Err(error) = feed.read().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the revocation log cannot be read yet");
        }
        let config = gate_config(settings, &secrets, &metrics, &clock)?;
        let metrics_config = metrics_gate_config(settings, &secrets, &metrics, &clock)?;
        let parts =
            SharedParts { store: &store, sessions: &sessions, clock: &clock, random: &random, metrics: &metrics };
        let identity = Arc::new(start_identity(settings, secrets, parts, base_url).await?);
        identity.demo_account.prepare().await?;

        let gate_parts = || GateParts {
            tokens: identity.signing_keys.access_tokens(),
            sessions: Arc::clone(&sessions) as Arc<dyn SessionSource>,
            shared_limits: redis.as_ref().map(Redis::limits),
            clock: clock.clone(),
            random: random.clone(),
            metrics: metrics.clone(),
        };
        let gate = Arc::new(Gate::new(gate_parts(), config));
        let metrics_gate = metrics_config.map(|config| Arc::new(Gate::new(gate_parts(), config)));
        store.subscribe(gate.streams());
        let proxy = Arc::new(Proxy::new(ProxyParts {
            streams: Arc::clone(gate.streams()),
            send_timeout: settings.server.send_timeout,
            upstreams: Upstreams::new(upstreams(settings), &metrics),
        }));
        read_values(&metrics, &gate, &identity.password_hasher);
        let services = Arc::new(Services {
            gate: Arc::clone(&gate),
            identity: Arc::clone(&identity),
            proxy: Arc::clone(&proxy),
            store: store.clone(),
            database_reading: DatabaseReading::default(),
            jobs: Arc::clone(&jobs),
            description: portcullis_api::description(),
            metrics: metrics.clone(),
            metrics_token: settings.metrics.token.clone(),
            clock: clock.clone(),
            environment: settings.environment,
            lifecycle,
            shared: redis.clone().map(|redis| Box::new(move || redis.is_available()) as SharedStatus),
        });
        let release = settings.sentry.release.clone();
        let front = |gate, shows_metrics| {
            let (proxy, services, errors) = (Arc::clone(&proxy), Arc::clone(&services), errors.clone());
            let reports_requests = errors.reports_requests();
            Arc::new(Front { gate, proxy, services, errors, shows_metrics, reports_requests })
        };
        let metrics_front = metrics_gate.map(|gate| front(gate, true));
        let front = front(gate, metrics_front.is_none());
        Ok(Self { front, metrics_front, identity, sessions, feed, jobs, store, redis, mail, metrics, errors, release })
    }

    /// Whether the gateway starts, serves or stops.
    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.front.services.lifecycle
    }

    /// Writes the last uses of sessions once more before the process ends.
    pub(crate) async fn flush_last_seen(&self) {
        if let Err(error) = self.sessions.flush_every_last_seen().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last uses of sessions were not written");
        }
    }
}

/// Returns what records the gateway's own errors.
fn errors(settings: &Settings, metrics: &Metrics, clock: &Clock) -> Errors {
    let clock = clock.clone();
    let since_1970 = move || Duration::from_micros(u64::try_from(clock.now().timestamp_micros()).unwrap_or_default());
    let Sentry { dsn, environment, release, traces_sample_rate } = settings.sentry.clone();
    match dsn {
        None => Errors::new(metrics.clone(), since_1970),
        Some(dsn) => {
            let options = SentryOptions { dsn, environment, release, traces_sample_rate };
            Errors::with_sentry(metrics.clone(), since_1970, options)
        }
    }
}

/// The parts that several other parts share.
struct SharedParts<'a> {
    store: &'a Store,
    sessions: &'a Arc<SessionCache>,
    clock: &'a Clock,
    random: &'a Random,
    metrics: &'a Metrics,
}

/// Returns the options with which the configured database is opened.
pub(crate) fn store_options(settings: &Settings, clock: &Clock, random: &Random, metrics: &Metrics) -> StoreOptions {
    let database = &settings.database;
    StoreOptions {
        pool_min: database.pool_min,
        pool_max: database.pool_max,
        acquire_timeout: database.acquire_timeout,
        statement_timeout: database.statement_timeout,
        migrate: database.migrate,
        migrate_wait: database.migrate_wait,
        // With Redis, replicas notify each other through it.
        notify: settings.redis.is_none(),
        ..StoreOptions::new(database.url.clone(), clock.clone(), random.clone(), metrics.clone())
    }
}

async fn connect_redis(
    settings: &Settings,
    secrets: &Secrets,
    store: &Store,
    random: &Random,
    metrics: &Metrics,
) -> Result<Option<Redis>, StartError> {
    let Some(redis) = settings.redis.clone() else { return Ok(None) };
    // What was kept there before a restore must not count after it.
    let prefix = match store.instance_value(GENERATION).await.map_err(StartError::Database)? {
        Some(generation) => format!("{}:{generation}", redis.prefix),
        None => redis.prefix,
    };
    let options = RedisOptions {
        url: redis.url,
        prefix,
        command_timeout: REDIS_COMMAND,
        connect_timeout: redis.connect_timeout,
        authorities: redis.authorities,
        clock: store.clock().clone(),
        secrets: secrets.encryption.clone(),
        random: random.clone(),
        metrics: metrics.clone(),
    };
    Ok(Some(Box::pin(Redis::connect(options)).await?))
}

fn session_cache(settings: &Settings, store: &Store, redis: Option<&Redis>) -> Arc<SessionCache> {
    let options = SessionCacheOptions {
        stale_max: settings.session.stale_max,
        shared: redis.map(Redis::sessions),
        demo_account: settings.demo.is_some() && settings.environment != Environment::Production,
        ..SessionCacheOptions::default()
    };
    SessionCache::new(store, settings.roles.clone(), options)
}

async fn start_identity(
    settings: &Settings,
    secrets: Secrets,
    parts: SharedParts<'_>,
    base_url: &str,
) -> Result<Identity, StartError> {
    let session = &settings.session;
    let hashing = HashingOptions::default();
    let options = IdentityOptions {
        environment: settings.environment,
        issuer: session.issuer.clone(),
        audience: session.audience.clone(),
        signing_algorithm: session.signing_algorithm,
        lifetimes: SessionLifetimes {
            access: session.access_ttl,
            refresh_idle: session.refresh_idle,
            absolute: session.absolute,
            absolute_remember: session.absolute_remembered,
            max_per_user: session.max_per_user,
        },
        grace: GRACE,
        clock_leeway: session.clock_leeway,
        min_password: settings.password.min_length,
        denied_passwords: settings.password.denied.clone(),
        throttle: settings.password.throttle,
        registration: RegistrationOptions {
            mode: settings.registration.mode,
            require_verified_email: settings.registration.require_verified_email,
            reveal_existing: settings.registration.reveal_existing,
        },
        demo: settings
            .demo
            .as_ref()
            .map(|demo| DemoOptions { email: demo.email.clone(), password: demo.password.clone() }),
        jwt_secret: secrets.jwt,
        encryption_keys: secrets.encryption,
        hashing: HashingOptions {
            threads: memory_limit::hash_threads(settings.password.hash_threads, hashing.threads),
            queue: settings.password.hash_queue,
        },
        public_url: base_url.to_owned(),
    };
    let parts = IdentityParts {
        store: parts.store.clone(),
        sessions: Arc::clone(parts.sessions),
        clock: parts.clock.clone(),
        random: parts.random.clone(),
        metrics: parts.metrics.clone(),
    };
    Ok(Identity::start(parts, options).await?)
}

/// Timeout of one Redis command, after which the replica works without Redis. A healthy Redis responds far sooner.
const REDIS_COMMAND: Duration = Duration::from_millis(250);
/// The grace window of a rotated refresh token (`docs/contract.md`, "Tokens and sessions").
const GRACE: Duration = Duration::from_secs(10);

pub(crate) fn gate_config(
    settings: &Settings,
    secrets: &Secrets,
    metrics: &Metrics,
    clock: &Clock,
) -> Result<GateConfig, StartError> {
    let mut specs = portcullis_api::route_specs();
    specs.extend(settings.route_specs());
    gate_config_of(specs, settings, secrets, metrics, clock)
}

/// The configuration of the gate before the listener of metrics, if they have one of their own.
pub(crate) fn metrics_gate_config(
    settings: &Settings,
    secrets: &Secrets,
    metrics: &Metrics,
    clock: &Clock,
) -> Result<Option<GateConfig>, StartError> {
    let specs = settings.metrics.listen.map(|_| portcullis_api::metrics_route_specs());
    specs.map(|specs| gate_config_of(specs, settings, secrets, metrics, clock)).transpose()
}

fn gate_config_of(
    routes: Vec<RouteSpec>,
    settings: &Settings,
    secrets: &Secrets,
    metrics: &Metrics,
    clock: &Clock,
) -> Result<GateConfig, StartError> {
    let versions = settings.versions.versions();
    versions.check_default(clock.now())?;
    Ok(GateConfig {
        routes: RouteTable::build(routes, &versions, metrics)?,
        versions,
        allowed_origins: AllowedOrigins::new(settings.allowed_origins.clone()),
        security_headers: SecurityHeaders::new(&settings.headers).expect("the settings hold valid header values"),
        csrf: CsrfConfig { tokens: CsrfTokens::new(&secrets.csrf), mode: settings.csrf_mode },
        limits: Limits::new(settings.limits.clone()),
        body_timeout: settings.server.body_timeout,
        trusted_proxies: settings.server.trusted_proxies.clone(),
        environment: settings.environment,
        trust_incoming_traces: settings.tracing.trust_incoming,
        propagation: settings.propagation,
        access_log: settings.access_log,
        public_origin: settings.public_origin(),
    })
}

pub(crate) fn upstreams(settings: &Settings) -> Vec<Upstream> {
    let upstream = |upstream: &portcullis_settings::Upstream| Upstream {
        name: Arc::clone(&upstream.name),
        targets: upstream.targets.clone(),
        connect_timeout: upstream.connect_timeout,
        limits: TargetLimits {
            max_connections: upstream.max_connections as usize,
            max_requests: upstream.max_requests as usize,
            max_streams: upstream.max_streams as usize,
            queue_length: upstream.queue.length as usize,
            queue_wait: upstream.queue.wait,
        },
        keepalive: upstream.keepalive,
        max_age: upstream.max_age,
    };
    settings.upstreams.iter().map(upstream).collect()
}

fn read_values(metrics: &Metrics, gate: &Arc<Gate>, hasher: &Arc<PasswordHasher>) {
    let hasher = Arc::clone(hasher);
    metrics.read_value(ReadMetric::PasswordHashQueueLength, move || Some(hasher.waiting() as f64));
    let streams = Arc::clone(gate.streams());
    metrics.read_value(ReadMetric::LiveStreams, move || Some(streams.count() as f64));
}
