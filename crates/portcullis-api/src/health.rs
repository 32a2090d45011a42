//! `/api/health` and its kin (contract §6).

use http::StatusCode;
use portcullis_jobs::JobStatus;
use portcullis_model::SessionState;
use portcullis_model::user::rfc3339_millis;
use serde_json::{Value, json};

use crate::{Call, Fault, Reply};

/// `GET /api/v1/health` and `/live`: the process runs. Asks nothing of anybody.
pub(crate) async fn process(call: Call) -> Result<Reply, Fault> {
    let services = &call.services;
    Ok(Reply::ok(
        "Service is healthy",
        json!({
            "status": "healthy",
            "timestamp": rfc3339_millis(services.clock.now()),
            "uptime": services.lifecycle.uptime_seconds(),
            "version": env!("CARGO_PKG_VERSION"),
            "environment": services.environment.as_str(),
        }),
    ))
}

/// `GET /api/v1/health/ready`: whether to send requests here.
pub(crate) async fn ready(call: Call) -> Result<Reply, Fault> {
    let stopping = call.services.lifecycle.is_stopping();
    let database = database_status(&call).await;
    let ready = !stopping && database == "healthy";
    let status = match (stopping, ready) {
        (true, _) => "stopping",
        (false, true) => "ready",
        (false, false) => "unavailable",
    };
    let message = if ready { "Service is ready" } else { "Service is not ready" };
    Ok(Reply::enveloped(code_for(ready), message, json!({ "status": status, "database": { "status": database } })))
}

/// `GET /api/v1/health/detailed`: each part by its status word.
pub(crate) async fn detailed(call: Call) -> Result<Reply, Fault> {
    let database = database_status(&call).await;
    let healthy = database == "healthy";
    let services = &call.services;
    let shared = match services.shared.as_ref().map(|is_available| is_available()) {
        None => "disabled",
        Some(true) => "healthy",
        // Replicas go on without it: no reason to call the service unhealthy.
        Some(false) => "unhealthy",
    };
    let jobs = services.jobs.statuses();
    let jobs_status = if jobs.iter().any(|job| job.last_succeeded == Some(false)) { "degraded" } else { "healthy" };
    let mut data = json!({
        "status": if healthy { jobs_status } else { "unhealthy" },
        "database": { "status": database },
        "redis": { "status": shared },
        "jobs": { "status": jobs_status },
        "services": upstreams(&call),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": services.lifecycle.uptime_seconds(),
    });
    // Status words only for anybody else (contract §6).
    let may_see = |session: &SessionState| {
        ["GATEWAY_VIEW", "SYSTEM_VIEW_METRICS"]
            .into_iter()
            .any(|name| session.permissions.iter().any(|held| held.as_str() == name))
    };
    if call.permit.principal().is_some_and(|principal| may_see(&principal.session)) {
        data["warnings"] = json!(services.gate.warnings());
        data["jobs"]["jobs"] = jobs.iter().map(job).collect();
    }
    let message = if healthy { "Service is healthy" } else { "Service is unhealthy" };
    Ok(Reply::enveloped(code_for(healthy), message, data))
}

/// `GET /api/v1/health/services`: the upstreams.
pub(crate) async fn services(call: Call) -> Result<Reply, Fault> {
    let upstreams = upstreams(&call);
    let summary = |word: &str| upstreams.iter().filter(|upstream| upstream["status"] == word).count();
    Ok(Reply::ok(
        "Upstream services",
        json!({
            "summary": {
                "total": upstreams.len(),
                "healthy": summary("healthy"),
                "unhealthy": summary("unhealthy"),
                "unknown": summary("unknown"),
            },
            "services": upstreams,
        }),
    ))
}

fn job(job: &JobStatus) -> Value {
    json!({
        "name": job.name,
        "lastSuccessAt": job.last_success_at.map(rfc3339_millis),
        "lastResult": job.last_succeeded.map(|succeeded| if succeeded { "success" } else { "failure" }),
    })
}

async fn database_status(call: &Call) -> &'static str {
    match call.services.store.ping().await {
        Ok(()) => "healthy",
        Err(error) => {
            tracing::debug!(%error, "the database did not answer a health check");
            "unhealthy"
        }
    }
}

fn upstreams(call: &Call) -> Vec<Value> {
    call.services.proxy.status().into_iter().map(|(name, word)| json!({ "name": name, "status": word })).collect()
}

fn code_for(healthy: bool) -> StatusCode {
    if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
