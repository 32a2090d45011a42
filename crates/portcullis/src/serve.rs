//! `portcullis serve`: putting the rooms together, and taking them down.

mod control;
mod front;
mod logging;
mod mail;
mod rehearsal;
mod reload;
mod wiring;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use portcullis_api::{Lifecycle, ReplyBody, Starting};
use portcullis_edge::{ConnectionLimit, ConnectionTimeouts, Server, StartupServer};
use portcullis_identity::{Identity, IdentityError, StartError};
use portcullis_model::policy::Environment;
use portcullis_model::{Clock, Random};
use portcullis_storage::{
    DatabaseUrl, ForeignUsers, Migrator, OpenError, StoreOptions, TransferError, TransferProgress, TransferredTable,
};
use portcullis_telemetry::Metrics;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use control::Control;
use portcullis_settings::{DataFolderError, LogFormat, Settings, Sources};
pub use rehearsal::rehearse;
pub use reload::Reloaded;
use reload::Reloader;
use wiring::House;

/// How long after readiness fails the listener closes, so that a balancer that
/// looks every second or two has seen it.
const READINESS_NOTICE: Duration = Duration::from_secs(2);

/// Why the gateway did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// The database.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] portcullis_redis::ConnectError),
    /// Identity.
    #[error(transparent)]
    Identity(#[from] StartError),
    /// Mail.
    #[error(transparent)]
    Mail(#[from] portcullis_mail::SmtpError),
    /// Routes that cannot stand beside each other.
    #[error(transparent)]
    Routes(#[from] portcullis_gate::RouteFault),
    /// The listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] portcullis_edge::ListenError),
    /// The first administrator's link.
    #[error("the first administrator's link could not be made")]
    FirstAdministrator(#[source] IdentityError),
    /// Signals.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
}

impl ServeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::DataFolder(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Redis(error) => error.hint(),
            Self::Identity(error) => error.hint().map(str::to_owned),
            Self::Listen(error) => Some(error.hint().to_owned()),
            Self::Mail(portcullis_mail::SmtpError::Authorities { .. }) => {
                Some("mail.authorities names a file with one certificate in PEM".to_owned())
            }
            Self::Mail(_) | Self::Routes(_) | Self::FirstAdministrator(_) | Self::Signals(_) => None,
        }
    }
}

/// Starts the gateway and serves until it is told to stop (SIGTERM or SIGINT).
pub async fn run(settings: Settings, sources: Sources) -> Result<(), ServeError> {
    logging::start(&settings.log);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let (listener, address) = portcullis_edge::listen(settings.server.listen, settings.environment)?;
    let random = Random::system();
    let secrets = settings.keep_secrets(&random)?;
    let base_url =
        settings.server.public_url.as_ref().map_or_else(|| format!("http://{address}"), |_| settings.base_url());
    let lifecycle = Arc::new(Lifecycle::default());
    let startup = startup_server(&lifecycle, settings.environment, random.clone());
    let building = Box::pin(House::build(&settings, secrets, random.clone(), &base_url, Arc::clone(&lifecycle)));
    let house = Arc::new(startup.run_during(&listener, building).await?);

    let stopping = CancellationToken::new();
    let background = house.start_background(&stopping);
    let (reloader, reload) = Reloader::new(&house, settings.clone(), sources, random).map_err(ServeError::Signals)?;
    background.spawn(reloader.run(stopping.clone()));
    // Before anybody is told that it listens, so that commands reach it, and a signal stops it politely, from its
    // first moment.
    if let Some(socket) = settings.server.control_socket.as_deref().and_then(control::Socket::open) {
        background.spawn(Control { house: Arc::clone(&house), reload }.run(socket, stopping.clone()));
    }
    let signals = StopSignals::listen().map_err(ServeError::Signals)?;
    announce(&settings, address, &base_url, &house.identity).await?;

    let server = Server {
        handler: Arc::clone(&house.front),
        connection_limit: connection_limit(&settings, &house.metrics),
        timeouts: ConnectionTimeouts {
            header: settings.server.header_timeout,
            idle: settings.server.idle_timeout,
            send: settings.server.send_timeout,
        },
        http2: settings.server.http2,
        proxy_protocol: settings.server.proxy_protocol,
    };
    let closing = CancellationToken::new();
    let serving = tokio::spawn(server.run(listener, closing.clone(), settings.server.drain_timeout));
    signals.received().await;
    tracing::info!("stopping");
    lifecycle.begin_stopping();
    if settings.environment == Environment::Production {
        tokio::time::sleep(READINESS_NOTICE).await;
    }
    closing.cancel();
    house.front.gate.streams().stopping().cancel();
    if let Err(error) = serving.await {
        tracing::error!(%error, "the server ended badly");
    }
    stopping.cancel();
    background.close();
    background.wait().await;
    house.store.close().await;
    if let Some(redis) = &house.redis {
        redis.close().await;
    }
    Ok(())
}

/// Identity over the configured database, for commands that change accounts.
pub async fn open_identity(settings: &Settings) -> Result<Identity, ServeError> {
    let random = Random::system();
    let secrets = settings.keep_secrets(&random)?;
    wiring::open_identity(settings, secrets, random).await
}

/// The configured database's schema, for the command that changes it.
pub async fn open_migrator(settings: &Settings) -> Result<Migrator, OpenError> {
    let clock = Clock::system();
    let metrics = Metrics::new(&settings.metrics, env!("CARGO_PKG_VERSION"));
    Migrator::connect(&wiring::store_options(settings, &clock, &Random::system(), &metrics)).await
}

/// Moves everything from one database to another, with the settings of the configured one.
pub async fn transfer(
    settings: &Settings,
    from: &DatabaseUrl,
    to: &DatabaseUrl,
    restart: bool,
    told: &mut dyn TransferProgress,
) -> Result<Vec<TransferredTable>, TransferError> {
    let (clock, random) = (Clock::system(), Random::system());
    let metrics = Metrics::new(&settings.metrics, env!("CARGO_PKG_VERSION"));
    let options = |url: &DatabaseUrl| StoreOptions {
        url: url.clone(),
        ..wiring::store_options(settings, &clock, &random, &metrics)
    };
    portcullis_storage::transfer(&options(from), &options(to), restart, told).await
}

/// The table of users of the program that this one replaces.
pub async fn open_foreign_users(
    settings: &Settings,
    url: &DatabaseUrl,
    table: &str,
) -> Result<ForeignUsers, OpenError> {
    let (clock, random) = (Clock::system(), Random::system());
    let metrics = Metrics::new(&settings.metrics, env!("CARGO_PKG_VERSION"));
    let options = StoreOptions { url: url.clone(), ..wiring::store_options(settings, &clock, &random, &metrics) };
    ForeignUsers::open(&options, table).await
}

/// Says where it listens and, while there is no administrator, how to make one.
async fn announce(
    settings: &Settings,
    address: SocketAddr,
    base_url: &str,
    identity: &Identity,
) -> Result<(), ServeError> {
    let mut said = format!("Portcullis {} ({})\n", env!("CARGO_PKG_VERSION"), settings.environment.as_str());
    said.push_str(&format!("listening on http://{address}\n"));
    if let Some(file) = &settings.config_file {
        said.push_str(&format!("settings from {}\n", file.display()));
    }
    // The link is a secret: on a terminal it may stand, in collected logs it may not (requirement 45).
    let may_print = settings.environment != Environment::Production && settings.log.format != LogFormat::Json;
    if may_print {
        let token = identity.first_administrator_token().await.map_err(ServeError::FirstAdministrator)?;
        if let Some(token) = token {
            said.push_str(&format!(
                "make the first administrator (once, within 30 minutes): {base_url}/setup#{}\n",
                token.expose()
            ));
        }
    }
    said.push_str("ready\n");
    let mut out = std::io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = out.write_all(said.as_bytes()).and_then(|()| out.flush());
    Ok(())
}

/// Responds to health checks while the database is prepared.
fn startup_server(
    lifecycle: &Arc<Lifecycle>,
    environment: Environment,
    random: Random,
) -> StartupServer<impl Fn(&Request<Incoming>) -> Response<ReplyBody> + Send + Sync + 'static> {
    let lifecycle = Arc::clone(lifecycle);
    StartupServer::new(move |request: &Request<Incoming>| {
        let starting = Starting { lifecycle: &lifecycle, clock: &Clock::system(), environment };
        starting.answer(request.uri().path(), &random.hex::<16>())
    })
}

fn connection_limit(settings: &Settings, metrics: &Metrics) -> Arc<ConnectionLimit> {
    let server = &settings.server;
    portcullis_edge::raise_open_file_limit(server.max_connections);
    ConnectionLimit::new(server.max_connections as usize, server.max_connections_per_address as usize, metrics)
}

/// SIGTERM and Ctrl-C, which do not end the process by themselves from here on.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
