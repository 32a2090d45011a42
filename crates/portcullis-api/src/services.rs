//! The services that handlers work with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use portcullis_gate::Gate;
use portcullis_identity::Identity;
use portcullis_jobs::Jobs;
use portcullis_model::{Clock, SecretString, policy::Environment};
use portcullis_proxy::Proxy;
use portcullis_storage::Store;
use portcullis_telemetry::Metrics;

use crate::DatabaseReading;
use crate::openapi::ApiDescription;

/// Everything that a handler may use. The binary makes one value at start.
pub struct Services {
    /// The gate, for CSRF tokens, versions, refusals, explanations and rate limits.
    pub gate: Arc<Gate>,
    /// The use cases of identity.
    pub identity: Arc<Identity>,
    /// The data plane, for the state of upstreams.
    pub proxy: Arc<Proxy>,
    /// Storage, for lists that need no use case and for health checks.
    pub store: Store,
    /// The state of the database that health checks share.
    pub database_reading: DatabaseReading,
    /// The periodic jobs, for their status in `/api/health/detailed`.
    pub jobs: Arc<Jobs>,
    /// The description of the API, which two endpoints show.
    pub description: &'static ApiDescription,
    /// The metric families that `/metrics` renders.
    pub metrics: Metrics,
    /// The bearer token that `/metrics` asks for; `None` when anybody may read them.
    pub metrics_token: Option<SecretString>,
    /// The clock of the timestamps in responses.
    pub clock: Clock,
    /// Development, production or test.
    pub environment: Environment,
    /// The start and the end of the process.
    pub lifecycle: Arc<Lifecycle>,
    /// Tells whether the storage that replicas share is available; `None` when replicas share none.
    pub shared: Option<SharedStatus>,
}

/// Answers health checks about the storage that replicas share.
pub type SharedStatus = Box<dyn Fn() -> bool + Send + Sync>;

/// When the process started, and whether it is stopping.
#[derive(Debug)]
pub struct Lifecycle {
    started: Instant,
    stopping: AtomicBool,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { started: Instant::now(), stopping: AtomicBool::new(false) }
    }
}

impl Lifecycle {
    /// Returns the seconds since the process started.
    pub fn uptime_seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Makes `/api/health/ready` answer 503, before listeners close.
    pub fn begin_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Returns whether the process is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
