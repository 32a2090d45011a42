//! Health checks (`docs/contract.md`, "System endpoints").

pub(crate) mod detailed;
pub(crate) mod reading;

use http::StatusCode;
use portcullis_model::policy::Environment;
use portcullis_model::{ApiTime, Clock};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::operation::{Example, Operation, OtherResponse, Tag};
use crate::{ApiError, Call, Lifecycle, Reply};

pub(crate) const HEALTH: Operation =
    Operation::new("health", Tag::Health, "Tell whether the process runs", "Service is healthy");

pub(crate) const LIVE: Operation =
    Operation::new("live", Tag::Health, "Tell whether the process runs, for orchestrators", "Service is healthy");

pub(crate) const READY: Operation =
    Operation::new("ready", Tag::Health, "Tell whether the process accepts requests", "Service is ready")
        .others(&[OtherResponse::Unhealthy]);

pub(super) const NOT_READY: &str = "Service is not ready";

/// A running process.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ProcessHealth {
    #[schemars(extend("const" = "healthy"))]
    status: &'static str,
    timestamp: ApiTime,
    /// Seconds since the process started.
    uptime: f64,
    version: &'static str,
    environment: &'static str,
}

impl ProcessHealth {
    pub(super) fn new(lifecycle: &Lifecycle, clock: &Clock, environment: Environment) -> Self {
        Self {
            status: "healthy",
            timestamp: ApiTime(clock.now()),
            uptime: lifecycle.uptime_seconds(),
            version: env!("CARGO_PKG_VERSION"),
            environment: environment.as_str(),
        }
    }
}

impl Example for ProcessHealth {
    fn example() -> Value {
        json!({
            "status": "healthy",
            "timestamp": "2026-11-24T09:00:00.000Z",
            "uptime": 3600.5,
            "version": "0.1.0",
            "environment": "production",
        })
    }
}

/// Whether the process accepts requests.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Readiness {
    status: ReadyStatus,
    database: Database,
}

impl Readiness {
    /// The state while migrations run, here or in another replica.
    pub(super) const MIGRATING: Self =
        Self { status: ReadyStatus::Migrating, database: Database { status: DatabaseStatus::Migrating } };
}

impl Example for Readiness {
    fn example() -> Value {
        json!({ "status": "ready", "database": { "status": "healthy" } })
    }
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum ReadyStatus {
    Ready,
    Unavailable,
    Stopping,
    Migrating,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Database {
    status: DatabaseStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum DatabaseStatus {
    Healthy,
    Unhealthy,
    Migrating,
}

/// `GET /api/v1/health`: asks neither the database nor any other part.
pub(crate) async fn health(call: Call) -> Result<Reply<ProcessHealth>, ApiError> {
    Ok(HEALTH.reply(&process(&call)))
}

/// `GET /api/v1/health/live`
pub(crate) async fn live(call: Call) -> Result<Reply<ProcessHealth>, ApiError> {
    Ok(LIVE.reply(&process(&call)))
}

/// `GET /api/v1/health/ready`
pub(crate) async fn ready(call: Call) -> Result<Reply<Readiness>, ApiError> {
    let stopping = call.services.lifecycle.is_stopping();
    let database = database(&call).await;
    let ready = !stopping && database == DatabaseStatus::Healthy;
    let status = match (stopping, ready) {
        (true, _) => ReadyStatus::Stopping,
        (false, true) => ReadyStatus::Ready,
        (false, false) => ReadyStatus::Unavailable,
    };
    let data = Readiness { status, database: Database { status: database } };
    Ok(if ready { READY.reply(&data) } else { Reply::enveloped(StatusCode::SERVICE_UNAVAILABLE, NOT_READY, &data) })
}

fn process(call: &Call) -> ProcessHealth {
    let services = &call.services;
    ProcessHealth::new(&services.lifecycle, &services.clock, services.environment)
}

async fn database(call: &Call) -> DatabaseStatus {
    let services = &call.services;
    if services.database_reading.is_healthy(&services.store).await {
        DatabaseStatus::Healthy
    } else {
        DatabaseStatus::Unhealthy
    }
}
