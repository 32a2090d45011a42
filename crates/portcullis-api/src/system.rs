//! The root, metrics, keys and versions (contract §2, §6, §7).

use http::HeaderValue;
use http::header::{ACCEPT, CACHE_CONTROL};
use serde_json::json;

use crate::{Call, Fault, Reply};

/// `GET /`
pub(crate) async fn root(call: Call) -> Result<Reply, Fault> {
    let services = &call.services;
    Ok(Reply::ok(
        "Portcullis is running",
        json!({
            "name": "Portcullis",
            "version": env!("CARGO_PKG_VERSION"),
            "environment": services.environment.as_str(),
            "uptime": services.lifecycle.uptime_seconds(),
        }),
    ))
}

/// `GET /metrics`: Prometheus text 0.0.4, or OpenMetrics 1.0 for a scraper that asks for it.
pub(crate) async fn metrics(call: Call) -> Result<Reply, Fault> {
    let openmetrics = call
        .headers
        .get_all(ACCEPT)
        .iter()
        .any(|accept| accept.to_str().is_ok_and(|text| text.contains("application/openmetrics-text")));
    let content_type = if openmetrics {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    Ok(Reply::bare(content_type, call.services.metrics.render(openmetrics)))
}

/// `GET /.well-known/jwks.json`: the public halves of the active signing keys (RFC 7517).
pub(crate) async fn jwks(call: Call) -> Result<Reply, Fault> {
    let keys = call.services.identity.jwks().to_string();
    // Short, so that a rotated key is seen before it signs.
    Ok(Reply::bare("application/json", keys).header(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60")))
}

/// `GET /api/versions`
pub(crate) async fn versions(call: Call) -> Result<Reply, Fault> {
    Ok(Reply::ok("API versions", call.services.gate.versions_document(call.services.clock.now())))
}
