//! Answers before the house stands: while the database is migrated, here or by another replica.

use http::{Response, StatusCode};
use portcullis_model::Clock;
use portcullis_model::policy::Environment;
use portcullis_model::user::rfc3339_millis;
use serde_json::json;

use crate::{Fault, FaultContext, Lifecycle, Reply, ReplyBody};

/// What is known this early.
pub struct Starting<'a> {
    /// Since when the process runs.
    pub lifecycle: &'a Lifecycle,
    /// For the answers' time.
    pub clock: &'a Clock,
    /// Development, production or test.
    pub environment: Environment,
}

impl Starting<'_> {
    /// The process lives, is not ready, and can answer nothing else yet.
    pub fn answer(&self, path: &str, request_id: &str) -> Response<ReplyBody> {
        // The alias without a version is the same endpoint.
        let endpoint = path.strip_prefix("/api/v1/").or_else(|| path.strip_prefix("/api/"));
        let reply = match endpoint {
            Some("health" | "health/live") => Reply::ok(
                "Service is healthy",
                json!({
                    "status": "healthy",
                    "timestamp": rfc3339_millis(self.clock.now()),
                    "uptime": self.lifecycle.uptime_seconds(),
                    "version": env!("CARGO_PKG_VERSION"),
                    "environment": self.environment.as_str(),
                }),
            ),
            Some("health/ready" | "health/detailed") => Reply::enveloped(
                StatusCode::SERVICE_UNAVAILABLE,
                "Service is not ready",
                json!({ "status": "migrating", "database": { "status": "migrating" } }),
            ),
            _ => {
                let context = FaultContext { path, request_id, prefers_problem: false };
                return Fault::unavailable().into_response(context, self.clock);
            }
        };
        reply.into_response(path, self.clock)
    }
}
