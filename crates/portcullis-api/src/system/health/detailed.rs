//! The state of each part of the gateway, and of the upstreams.

use http::StatusCode;
use portcullis_jobs::JobStatus;
use portcullis_model::{ApiTime, Permission, SessionState};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Database, DatabaseStatus, database};
use crate::operation::{Example, Operation, OtherResponse, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const DETAILED: Operation =
    Operation::new("detailedHealth", Tag::Health, "Show the state of each part", "Service is healthy")
        .others(&[OtherResponse::Unhealthy]);

pub(crate) const SERVICES: Operation =
    Operation::new("services", Tag::Health, "Show the state of the upstreams", "Upstream services");

/// The state of each part.
#[derive(Serialize, JsonSchema)]
pub(crate) struct DetailedHealth {
    status: Status,
    database: Database,
    redis: Redis,
    jobs: Jobs,
    services: Vec<Upstream>,
    version: &'static str,
    /// Seconds since the process started.
    uptime: f64,
    /// For callers with GATEWAY_VIEW or SYSTEM_VIEW_METRICS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    warnings: Option<Vec<String>>,
}

impl Example for DetailedHealth {
    fn example() -> Value {
        json!({
            "status": "healthy",
            "database": { "status": "healthy" },
            "redis": { "status": "disabled" },
            "jobs": { "status": "healthy" },
            "services": [],
            "version": "0.1.0",
            "uptime": 3600.5,
        })
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Redis {
    status: RedisStatus,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum RedisStatus {
    Healthy,
    Unhealthy,
    Disabled,
}

/// The worst state of a part counts: only without SQL the whole is unhealthy.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Status {
    Healthy,
    Degraded,
    Unhealthy,
}

/// Periodic jobs. The list is for callers with GATEWAY_VIEW or SYSTEM_VIEW_METRICS.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Jobs {
    status: JobsStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Job>")]
    jobs: Option<Vec<Job>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum JobsStatus {
    Healthy,
    Degraded,
}

/// One periodic job.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Job {
    name: String,
    last_success_at: Option<ApiTime>,
    /// Null until the job has run.
    last_result: Option<JobResult>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum JobResult {
    Success,
    Failure,
}

impl From<&JobStatus> for Job {
    fn from(job: &JobStatus) -> Self {
        let result = |succeeded| if succeeded { JobResult::Success } else { JobResult::Failure };
        Self {
            name: job.name.to_string(),
            last_success_at: job.last_success_at.map(ApiTime),
            last_result: job.last_succeeded.map(result),
        }
    }
}

/// The upstreams and how many are in each state.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ServicesHealth {
    summary: Summary,
    services: Vec<Upstream>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Summary {
    total: usize,
    healthy: usize,
    unhealthy: usize,
    unknown: usize,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Upstream {
    name: String,
    #[schemars(extend("enum" = ["healthy", "unhealthy", "unknown"]))]
    status: &'static str,
}

impl Example for ServicesHealth {
    fn example() -> Value {
        json!({
            "summary": { "total": 1, "healthy": 1, "unhealthy": 0, "unknown": 0 },
            "services": [{ "name": "projects", "status": "healthy" }],
        })
    }
}

/// `GET /api/v1/health/detailed`
pub(crate) async fn detailed(call: Call) -> Result<Reply<DetailedHealth>, ApiError> {
    let database = database(&call).await;
    let healthy = database == DatabaseStatus::Healthy;
    let services = &call.services;
    let redis = match services.shared.as_ref().map(|is_available| is_available()) {
        None => RedisStatus::Disabled,
        Some(true) => RedisStatus::Healthy,
        // Replicas go on without Redis, so the service as a whole stays healthy.
        Some(false) => RedisStatus::Unhealthy,
    };
    let principal = call.permit.principal();
    let sees_details = principal.is_some_and(|principal| may_see_details(&principal.session));
    let jobs = services.jobs.statuses();
    let failed = jobs.iter().any(|job| job.last_succeeded == Some(false));
    let jobs_status = if failed { JobsStatus::Degraded } else { JobsStatus::Healthy };
    let data = DetailedHealth {
        status: match (healthy, jobs_status) {
            (false, _) => Status::Unhealthy,
            (true, JobsStatus::Degraded) => Status::Degraded,
            (true, JobsStatus::Healthy) => Status::Healthy,
        },
        database: Database { status: database },
        redis: Redis { status: redis },
        jobs: Jobs { status: jobs_status, jobs: sees_details.then(|| jobs.iter().map(Job::from).collect()) },
        services: upstreams(&call),
        version: env!("CARGO_PKG_VERSION"),
        uptime: services.lifecycle.uptime_seconds(),
        warnings: sees_details.then(|| services.gate.warnings()),
    };
    Ok(if healthy {
        DETAILED.reply(&data)
    } else {
        Reply::enveloped(StatusCode::SERVICE_UNAVAILABLE, "Service is unhealthy", &data)
    })
}

/// `GET /api/v1/health/services`
pub(crate) async fn services(call: Call) -> Result<Reply<ServicesHealth>, ApiError> {
    let services = upstreams(&call);
    let count = |status: &str| services.iter().filter(|upstream| upstream.status == status).count();
    let summary = Summary {
        total: services.len(),
        healthy: count("healthy"),
        unhealthy: count("unhealthy"),
        unknown: count("unknown"),
    };
    Ok(SERVICES.reply(&ServicesHealth { summary, services }))
}

/// Other callers see the status words only.
fn may_see_details(session: &SessionState) -> bool {
    let held = &session.permissions;
    held.iter()
        .any(|permission| Permission::GATEWAY_VIEW == *permission || Permission::SYSTEM_VIEW_METRICS == *permission)
}

fn upstreams(call: &Call) -> Vec<Upstream> {
    let upstreams = call.services.proxy.status().into_iter();
    upstreams.map(|(name, status)| Upstream { name: name.clone(), status }).collect()
}
