//! `portcullis serve`: starts the gateway, serves until it is told to stop, and shuts down.

mod announcement;
mod control_socket;
mod log_level;
mod reload;
mod secret_refresh;
mod service_manager;
mod shutdown;

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use portcullis_api::{Lifecycle, ReplyBody, Starting};
use portcullis_edge::{ConnectionLimit, ConnectionTimeouts, HTTP2_MAX_STREAMS, OpenFiles, Server, StartupServer};
use portcullis_model::policy::Environment;
use portcullis_model::{Clock, Random};
use portcullis_telemetry::traces::{TraceExporter, TracerParts};
use tokio_util::sync::CancellationToken;

use crate::assembly::{Application, Front, StartError};
use control_socket::{ControlServer, ControlSocket};
use log_level::LogLevel;
pub use log_level::LogLevelInForce;
use portcullis_settings::{Settings, Sources, Upstream};
pub use reload::Reloaded;
use reload::Reloader;
use shutdown::Running;
pub(crate) use shutdown::StopSignals;

/// Starts the gateway and serves until SIGTERM or SIGINT.
///
/// # Errors
/// When a part cannot start.
pub(crate) async fn run(settings: Settings, sources: Sources, mut signals: StopSignals) -> Result<(), StartError> {
    // Dropped last, so that the lines of the shutdown are written too.
    let _logs = portcullis_telemetry::logs::start(&settings.log);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let (listener, address) = portcullis_edge::listen(settings.server.listen, settings.environment)?;
    let metrics_listener = settings.metrics.listen.map(portcullis_edge::listen_apart).transpose()?;
    let random = Random::system();
    let exporter = start_traces(&settings, &random);
    let secrets = settings.load_or_create_secrets(&random)?;
    let base_url =
        settings.server.public_url.as_ref().map_or_else(|| format!("http://{address}"), |_| settings.base_url());
    let lifecycle = Arc::new(Lifecycle::default());
    let startup = startup_server(&lifecycle, settings.environment, random.clone());
    let building = Box::pin(Application::build(&settings, secrets, random.clone(), &base_url, lifecycle));
    let application = tokio::select! {
        built = startup.run_during(&listener, building) => Arc::new(built?),
        // A migration under way is rolled back.
        () = signals.received() => {
            tracing::info!("stopped during the start");
            return Ok(());
        }
    };

    let stopping = CancellationToken::new();
    application.errors.report_panics();
    let background = application.start_background(&stopping);
    let log_level = LogLevel::new(settings.log.filter.clone(), application.front.services.clock.clone());
    let (reloader, reload) =
        Reloader::new(&application, settings.clone(), sources, random, &log_level).map_err(StartError::Signals)?;
    background.spawn(reloader.run(stopping.clone()));
    // The control socket comes before the announcement, so that a command that follows it finds it.
    if let Some(socket) = settings.server.control_socket.as_deref().and_then(ControlSocket::open) {
        let control = ControlServer { application: Arc::clone(&application), reload, log_level };
        background.spawn(control.run(socket, stopping.clone()));
    }
    let metrics_address = metrics_listener.map(|(listener, address)| {
        if let Some(server) = metrics_server(&settings, &application) {
            // It answers while the requests of clients are drained.
            background.spawn(server.run(listener, stopping.clone(), METRICS_DRAIN));
        }
        address
    });
    announcement::print(&settings, address, metrics_address, &base_url, &application.identity).await?;
    service_manager::notify(service_manager::State::Ready);

    let closing = CancellationToken::new();
    let server = server(&settings, &application);
    let server = tokio::spawn(server.run(listener, closing.clone(), settings.server.drain_timeout));
    signals.received().await;
    let environment = settings.environment;
    Running { application: &application, environment, server, closing, background, stopping }.stop().await;
    if let Some(exporter) = exporter {
        exporter.shut_down(LAST_SPANS).await;
    }
    Ok(())
}

/// How long the end of the process waits for a collector to take the last spans.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Records traces if there is a collector to send them to.
fn start_traces(settings: &Settings, random: &Random) -> Option<TraceExporter> {
    let options = settings.traces.as_ref()?;
    let clock = Clock::system();
    let now = move || u64::try_from(clock.unix_micros()).unwrap_or_default().saturating_mul(1000);
    let parts = TracerParts { now: Box::new(now), seed: random.bytes() };
    TraceExporter::start(options, env!("CARGO_PKG_VERSION"), parts)
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
        starting.respond(request.uri().path(), &random.hex::<16>())
    })
}

/// The files that these settings allow to be open at once.
pub(crate) fn open_files(settings: &Settings) -> OpenFiles {
    let clients = u64::from(settings.server.max_connections);
    let of_all = |each: fn(&Upstream) -> u32| -> u64 {
        settings.upstreams.iter().map(|upstream| upstream.targets.len() as u64 * u64::from(each(upstream))).sum()
    };
    // A stream lasts no longer than the client's request for it, of which a connection has one at a time in HTTP/1.1.
    let requests_of_client = if settings.server.http2 { u64::from(HTTP2_MAX_STREAMS) } else { 1 };
    let streams = of_all(|upstream| upstream.max_streams).min(clients.saturating_mul(requests_of_client));
    OpenFiles { clients, upstreams: of_all(|upstream| upstream.max_connections) + streams }
}

/// The most connections of scrapers.
const METRICS_CONNECTIONS: usize = 64;
/// How long a scrape may continue at the end of a shutdown.
const METRICS_DRAIN: Duration = Duration::from_secs(1);

/// Serves `/metrics` on a listener of its own, if it has one.
fn metrics_server(settings: &Settings, application: &Application) -> Option<Server<Front>> {
    Some(Server {
        handler: Arc::clone(application.metrics_front.as_ref()?),
        connection_limit: ConnectionLimit::unmeasured(METRICS_CONNECTIONS, METRICS_CONNECTIONS),
        timeouts: timeouts(settings),
        http2: settings.server.http2,
        proxy_protocol: false,
    })
}

fn timeouts(settings: &Settings) -> ConnectionTimeouts {
    let server = &settings.server;
    ConnectionTimeouts { header: server.header_timeout, idle: server.idle_timeout, send: server.send_timeout }
}

fn server(settings: &Settings, application: &Application) -> Server<Front> {
    let server = &settings.server;
    let max_clients = open_files(settings).raise_limit();
    Server {
        handler: Arc::clone(&application.front),
        connection_limit: ConnectionLimit::new(
            usize::try_from(max_clients).unwrap_or(usize::MAX),
            server.max_connections_per_address as usize,
            &application.metrics,
        ),
        timeouts: timeouts(settings),
        http2: server.http2,
        proxy_protocol: server.proxy_protocol,
    }
}
