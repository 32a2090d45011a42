//! Responses before the gateway can serve requests: while the database is migrated, here or by another replica.

use http::{Response, StatusCode};
use portcullis_model::Clock;
use portcullis_model::policy::Environment;

use super::health::{HEALTH, NOT_READY, ProcessHealth, Readiness};
use crate::error::{ErrorContext, ErrorKind};
use crate::{ApiError, Lifecycle, Reply, ReplyBody};

/// What the process knows this early.
pub struct Starting<'a> {
    /// The start of the process.
    pub lifecycle: &'a Lifecycle,
    /// The clock of the timestamps in responses.
    pub clock: &'a Clock,
    /// Development, production or test.
    pub environment: Environment,
}

impl Starting<'_> {
    /// Responds to health checks; every other path is 503.
    pub fn respond(&self, path: &str, request_id: &str) -> Response<ReplyBody> {
        // The alias without a version is the same endpoint.
        let endpoint = path.strip_prefix("/api/v1/").or_else(|| path.strip_prefix("/api/"));
        let reply = match endpoint {
            Some("health" | "health/live") => {
                HEALTH.reply(&ProcessHealth::new(self.lifecycle, self.clock, self.environment)).into_raw()
            }
            Some("health/ready" | "health/detailed") => {
                Reply::enveloped(StatusCode::SERVICE_UNAVAILABLE, NOT_READY, &Readiness::MIGRATING).into_raw()
            }
            _ => {
                let context = ErrorContext { path, request_id, prefers_problem: false };
                return ApiError::from(ErrorKind::UNAVAILABLE).into_response(context, self.clock);
            }
        };
        reply.into_response(path, self.clock)
    }
}
