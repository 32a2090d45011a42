//! The caller's own sessions.

use portcullis_identity::SessionDetails;
use portcullis_model::{ApiTime, SessionId};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::input::path;
use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const LIST: Operation =
    Operation::new("sessions", Tag::Auth, "List one's own sessions", "Sessions retrieved successfully");

pub(crate) const END: Operation =
    Operation::new("endSession", Tag::Auth, "End one of one's own sessions", "Session ended successfully");

/// The live sessions of a user.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Sessions {
    sessions: Vec<Session>,
}

/// One sign-in on one device.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Session {
    id: SessionId,
    /// Whether the request itself belongs to this session.
    current: bool,
    created_at: ApiTime,
    last_seen_at: ApiTime,
    expires_at: ApiTime,
    ip: Option<String>,
    user_agent: Option<String>,
}

impl Sessions {
    /// Lists `views`; `current` is the session of the request.
    pub(crate) fn new(views: &[SessionDetails], current: SessionId) -> Self {
        let sessions = views.iter().map(|view| Session {
            id: view.id,
            current: view.id == current,
            created_at: ApiTime(view.created_at),
            last_seen_at: ApiTime(view.last_seen_at),
            expires_at: ApiTime(view.expires_at),
            ip: view.ip.clone(),
            user_agent: view.user_agent.clone(),
        });
        Self { sessions: sessions.collect() }
    }
}

impl Example for Sessions {
    fn example() -> Value {
        json!({
            "sessions": [{
                "id": "0198c0de-0000-7000-8000-000000000003",
                "current": true,
                "createdAt": "2026-11-24T09:00:00.000Z",
                "lastSeenAt": "2026-11-24T09:00:00.000Z",
                "expiresAt": "2026-12-01T09:00:00.000Z",
                "ip": "203.0.113.7",
                "userAgent": "Firefox",
            }],
        })
    }
}

/// `GET /api/v1/auth/sessions`
pub(crate) async fn list(call: Call) -> Result<Reply<Sessions>, ApiError> {
    let session = call.session();
    let views = call.services.identity.sessions.list(session).await?;
    Ok(LIST.reply(&Sessions::new(&views, session.id)).private())
}

/// `DELETE /api/v1/auth/sessions/{id}`
pub(crate) async fn end(call: Call, path::OwnSession(id): path::OwnSession) -> Result<Reply<()>, ApiError> {
    call.services.identity.sessions.end(call.session(), id, &call.caller()).await?;
    Ok(END.done())
}
