//! What handlers work with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use portcullis_gate::Gate;
use portcullis_identity::Identity;
use portcullis_jobs::Jobs;
use portcullis_model::{Clock, policy::Environment};
use portcullis_proxy::Proxy;
use portcullis_storage::Store;
use portcullis_telemetry::Metrics;

/// Everything a handler may use. One value, made at start.
pub struct Services {
    /// The gate, for what the CSRF and versions endpoints show of it.
    pub gate: Arc<Gate>,
    /// The use cases of identity.
    pub identity: Identity,
    /// The data plane, for the health of upstreams.
    pub proxy: Arc<Proxy>,
    /// Storage, for readiness.
    pub store: Store,
    /// The periodic jobs, for their status in `/api/health/detailed`.
    pub jobs: Arc<Jobs>,
    /// Metric families.
    pub metrics: Metrics,
    /// The clock of envelopes.
    pub clock: Clock,
    /// Development, production or test.
    pub environment: Environment,
    /// Whether this process is ready, and since when it runs.
    pub lifecycle: Arc<Lifecycle>,
    /// Whether what replicas share is available; `None` when they share nothing.
    pub shared: Option<SharedStatus>,
}

/// Asked by health checks.
pub type SharedStatus = Box<dyn Fn() -> bool + Send + Sync>;

/// Since when the process runs, and whether it is stopping.
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
    /// Seconds since the process started.
    pub fn uptime_seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Makes `/api/health/ready` answer 503, before listeners close.
    pub fn begin_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the process is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
