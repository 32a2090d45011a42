//! `GET /metrics`: the metrics of this process, for scrapers.

use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION};
use portcullis_model::secret::constant_time_eq;
use portcullis_model::{Permission, SecretString};
use schemars::SchemaGenerator;
use serde_json::{Value, json};

use crate::error::ErrorKind;
use crate::operation::{Operation, Output, Tag, without_envelope};
use crate::{ApiError, Call, Reply};

pub(crate) const METRICS: Operation = Operation::new("metrics", Tag::System, "Metrics for Prometheus", "")
    .description(
        "Prometheus text 0.0.4, or OpenMetrics 1.0 when `Accept` asks for it. With `metrics.token` it needs that bearer \
         token, or a caller who holds SYSTEM_VIEW_METRICS. With `metrics.listen` it is on that listener alone.",
    )
    .errors(&[
        (401, "`metrics.token` is set, and the request has no credential or another one."),
        (403, "`metrics.token` is set, and the caller does not hold SYSTEM_VIEW_METRICS."),
        (404, "`metrics.listen` is set, and this is another listener."),
    ]);

/// Metric families as text.
pub(crate) struct MetricsText;

impl Output for MetricsText {
    fn describe(_operation: &Operation, _schemas: &mut SchemaGenerator) -> Value {
        without_envelope(&[
            ("text/plain", json!("# TYPE http_requests_total counter\n")),
            ("application/openmetrics-text", json!("# EOF\n")),
        ])
    }
}

/// `GET /metrics`: Prometheus text 0.0.4, or OpenMetrics 1.0 for a scraper that asks for it.
pub(crate) async fn metrics(call: Call) -> Result<Reply<MetricsText>, ApiError> {
    if let Some(token) = &call.services.metrics_token {
        check_caller(&call, token)?;
    }
    let accepted = call.headers.get_all(ACCEPT);
    let asks =
        |accept: &HeaderValue| String::from_utf8_lossy(accept.as_bytes()).contains("application/openmetrics-text");
    let openmetrics = accepted.iter().any(asks);
    let content_type = if openmetrics {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    Ok(Reply::without_envelope(content_type, call.services.metrics.page(openmetrics)))
}

/// Accepts the scraper's token, or a principal with SYSTEM_VIEW_METRICS.
fn check_caller(call: &Call, token: &SecretString) -> Result<(), ApiError> {
    if let Some(principal) = call.permit.principal() {
        let held = &principal.session.permissions;
        let may = held.iter().any(|permission| Permission::SYSTEM_VIEW_METRICS == *permission);
        return if may { Ok(()) } else { Err(ErrorKind::NOT_PERMITTED.into()) };
    }
    let is_token = |value: &HeaderValue| {
        let parts = value.as_bytes().split_at_checked("bearer ".len());
        parts.is_some_and(|(scheme, presented)| {
            scheme.eq_ignore_ascii_case(b"bearer ")
                && constant_time_eq(presented.trim_ascii(), token.expose().as_bytes())
        })
    };
    if call.headers.get_all(AUTHORIZATION).iter().any(is_token) {
        return Ok(());
    }
    let presented = call.headers.contains_key(AUTHORIZATION) || call.permit.presented_credential();
    Err(if presented { ErrorKind::INVALID_TOKEN } else { ErrorKind::TOKEN_REQUIRED }.into())
}
