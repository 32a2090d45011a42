//! One's own account and sessions (contract §3).

use portcullis_identity::{ProfileInput, SessionView};
use portcullis_model::{SessionId, user::rfc3339_millis};
use serde_json::{Value, json};

use crate::{Call, Fault, Reply};

/// `GET /api/v1/auth/profile`
pub(crate) async fn profile(call: Call) -> Result<Reply, Fault> {
    let user = call.services.identity.profile(&call.principal().session).await?;
    Ok(Reply::ok("Profile retrieved successfully", json!({ "user": *user })).private())
}

/// `PUT /api/v1/auth/profile`
pub(crate) async fn update_profile(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let input = ProfileInput {
        first_name: body.optional_text("firstName"),
        last_name: body.optional_text("lastName"),
        avatar: body.nullable_text("avatar"),
    };
    body.finish()?;
    let user = call.services.identity.update_profile(&call.principal().session, input, &call.caller()).await?;
    Ok(Reply::ok("Profile updated successfully", json!({ "user": user })).private())
}

/// `GET /api/v1/auth/sessions`
pub(crate) async fn sessions(call: Call) -> Result<Reply, Fault> {
    let session = &call.principal().session;
    let sessions = call.services.identity.sessions(session).await?;
    let list: Vec<Value> = sessions.iter().map(|view| session_json(view, session.id)).collect();
    Ok(Reply::ok("Sessions retrieved successfully", json!({ "sessions": list })).private())
}

/// `DELETE /api/v1/auth/sessions/{id}`
pub(crate) async fn end_session(call: Call) -> Result<Reply, Fault> {
    // An id that is no UUID names no session.
    let id = call.permit.parameter("id").and_then(|text| text.parse::<SessionId>().ok());
    let id = id.ok_or_else(|| Fault::not_found("That session"))?;
    call.services.identity.end_session(&call.principal().session, id, &call.caller()).await?;
    Ok(Reply::ok("Session ended successfully", Value::Null))
}

pub(crate) fn session_json(view: &SessionView, current: SessionId) -> Value {
    json!({
        "id": view.id,
        "current": view.id == current,
        "createdAt": rfc3339_millis(view.created_at),
        "lastSeenAt": rfc3339_millis(view.last_seen_at),
        "expiresAt": rfc3339_millis(view.expires_at),
        "ip": view.ip,
        "userAgent": view.user_agent,
    })
}
