//! The sessions of another user.

use crate::auth::sessions::Sessions;
use crate::input::path;
use crate::operation::{Operation, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const LIST: Operation =
    Operation::new("userSessions", Tag::Users, "List a user's sessions", "Sessions retrieved successfully")
        .description("The user must not have a higher role than the caller.");

pub(crate) const END_ALL: Operation =
    Operation::new("endUserSessions", Tag::Users, "End all sessions of a user", "Sessions ended successfully");

pub(crate) const END: Operation =
    Operation::new("endUserSession", Tag::Users, "End one session of a user", "Session ended successfully");

/// `GET /api/v1/users/{id}/sessions`
pub(crate) async fn list(call: Call, path::User(id): path::User) -> Result<Reply<Sessions>, ApiError> {
    let views = call.services.identity.administration.sessions_of(&call.actor(), id).await?;
    Ok(LIST.reply(&Sessions::new(&views, call.session().id)).private())
}

/// `DELETE /api/v1/users/{id}/sessions`
pub(crate) async fn end_all(call: Call, path::User(id): path::User) -> Result<Reply<()>, ApiError> {
    call.services.identity.administration.end_sessions_of(&call.actor(), id, None, &call.caller()).await?;
    Ok(END_ALL.done())
}

/// `DELETE /api/v1/users/{id}/sessions/{session}`
pub(crate) async fn end(
    call: Call,
    (path::User(id), path::Session(session)): (path::User, path::Session),
) -> Result<Reply<()>, ApiError> {
    call.services.identity.administration.end_sessions_of(&call.actor(), id, Some(session), &call.caller()).await?;
    Ok(END.done())
}
