//! New users by invitation.

use portcullis_identity::{IdempotentOutcome, Invitation};
use portcullis_model::{Role, User};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::input::{Body, account_request};
use crate::operation::{Example, Operation, Tag};
use crate::reply::Recorded;
use crate::{ApiError, Call, Reply};

pub(crate) const INVITE: Operation = Operation::new(
    "inviteUser",
    Tag::Users,
    "Create a user and mail an invitation",
    "User created successfully. An invitation is on its way.",
)
.created()
.description("The user chooses a password by the link of the mail.")
.errors(&[(409, "The e-mail address or the username is taken.")]);

account_request! {
    /// A user to invite.
    InviteRequest {} and {
        /// `DEVELOPER` when null or absent.
        role: Option<Role>,
    }
}

impl Example for InviteRequest {
    fn example() -> Value {
        json!({
            "email": "grace@example.com",
            "username": "grace",
            "firstName": "Grace",
            "lastName": "Hopper",
            "role": "TESTER",
        })
    }
}

/// The new user.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Invited {
    user: Recorded<User>,
}

impl Example for Invited {
    fn example() -> Value {
        json!({ "user": User::example() })
    }
}

/// `POST /api/v1/users`
pub(crate) async fn invite(call: Call, Body(request): Body<InviteRequest>) -> Result<Reply<Invited>, ApiError> {
    let InviteRequest { email, username, first_name, last_name, role } = request;
    let invitation = Invitation { email, username, first_name, last_name, role: role.unwrap_or(Role::OF_REGISTRANTS) };
    let key = call.idempotency_key();
    let outcome = call.services.identity.administration.invite(&invitation, &call.actor(), &call.caller(), key).await?;
    let reply = match outcome {
        IdempotentOutcome::Fresh(user) => INVITE.reply(&Invited { user: Recorded::New(user) }),
        IdempotentOutcome::Replayed(user) => INVITE.reply(&Invited { user: Recorded::Replayed(user) }).replayed(),
    };
    Ok(reply.private())
}
