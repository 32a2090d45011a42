//! Other people's accounts (contract §4).

use portcullis_identity::{Actor, Done, Invitation, PermissionChange, PersonInput, PersonView, ProfileInput};
use portcullis_model::{Permission, PermissionSet, Role, SessionId, UserId};
use portcullis_storage::UserFilter;
use serde_json::{Value, json};

use crate::account::session_json;
use crate::body::JsonObject;
use crate::query::Query;
use crate::{Call, Fault, Reply};

const ROLES: &str = "one of VIEWER, TESTER, DEVELOPER, MANAGER, ADMIN";

/// `GET /api/v1/users`
pub(crate) async fn list(call: Call) -> Result<Reply, Fault> {
    let mut query = Query::of(&call);
    let page = query.page();
    let filter = UserFilter {
        role: query.parsed::<Role>("role", ROLES),
        is_active: query.parsed::<bool>("isActive", "true or false"),
        search: query.text("search").filter(|search| !search.is_empty()),
    };
    query.finish()?;
    let found = call.services.store.list_users(&filter, page.limit, page.offset()).await?;
    let data = json!({ "users": found.users, "pagination": page.json(found.total) });
    Ok(Reply::ok("Users retrieved successfully", data).private())
}

/// `POST /api/v1/users`: an account whose owner sets the password by a mailed link.
pub(crate) async fn create(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let invitation = Invitation {
        email: body.text("email"),
        username: body.text("username"),
        first_name: body.text("firstName"),
        last_name: body.text("lastName"),
        role: role(&mut body, false),
    };
    body.finish()?;
    let created = |user: Value| {
        Reply::created("User created successfully. An invitation is on its way.", json!({ "user": user }))
    };
    let done = call.services.identity.invite_user(&invitation, &actor(&call), &call.caller(), call.once()).await?;
    let reply = match done {
        Done::Now(user) => created(json!(user)),
        Done::Before(user) => created(user).replayed(),
    };
    Ok(reply.private())
}

/// `GET /api/v1/users/{id}`
pub(crate) async fn show(call: Call) -> Result<Reply, Fault> {
    let view = call.services.identity.person_view(subject(&call)?).await?;
    Ok(Reply::ok("User retrieved successfully", json!({ "user": with_permissions(&view) })).private())
}

/// `PUT /api/v1/users/{id}`
pub(crate) async fn edit(mut call: Call) -> Result<Reply, Fault> {
    let id = subject(&call)?;
    let mut body = call.json().await?;
    let profile = ProfileInput {
        first_name: body.optional_text("firstName"),
        last_name: body.optional_text("lastName"),
        avatar: body.nullable_text("avatar"),
    };
    let input = PersonInput { profile, is_active: body.optional_flag("isActive") };
    body.finish()?;
    let user = call.services.identity.edit_person(&actor(&call), id, input, &call.caller()).await?;
    Ok(Reply::ok("User updated successfully", json!({ "user": user })).private())
}

/// `PUT /api/v1/users/{id}/role`
pub(crate) async fn set_role(mut call: Call) -> Result<Reply, Fault> {
    let id = subject(&call)?;
    let mut body = call.json().await?;
    let role = role(&mut body, true);
    body.finish()?;
    let user = call.services.identity.set_role(&actor(&call), id, role, &call.caller()).await?;
    Ok(Reply::ok("Role updated successfully", json!({ "user": user })).private())
}

/// `DELETE /api/v1/users/{id}`
pub(crate) async fn delete(call: Call) -> Result<Reply, Fault> {
    call.services.identity.delete_person(&actor(&call), subject(&call)?, &call.caller()).await?;
    Ok(Reply::ok("User deleted successfully", Value::Null))
}

/// `GET /api/v1/users/{id}/permissions`
pub(crate) async fn permissions(call: Call) -> Result<Reply, Fault> {
    let view = call.services.identity.person_view(subject(&call)?).await?;
    Ok(Reply::ok("Permissions retrieved successfully", permissions_json(&view)).private())
}

/// `PUT /api/v1/users/{id}/permissions`: exactly these beyond the role's.
pub(crate) async fn set_permissions(mut call: Call) -> Result<Reply, Fault> {
    let mut body = call.json().await?;
    let mut named = PermissionSet::new();
    for text in body.list("permissions") {
        match Permission::parse(&text) {
            Ok(permission) => _ = named.insert(permission),
            Err(rejected) => body.problem(rejected.0),
        }
    }
    body.finish()?;
    change(&call, PermissionChange::Set(named)).await
}

/// `POST /api/v1/users/{id}/permissions/{permission}`
pub(crate) async fn add_permission(call: Call) -> Result<Reply, Fault> {
    let named = permission(&call)?;
    change(&call, PermissionChange::Add(named)).await
}

/// `DELETE /api/v1/users/{id}/permissions/{permission}`
pub(crate) async fn remove_permission(call: Call) -> Result<Reply, Fault> {
    let named = permission(&call)?;
    change(&call, PermissionChange::Remove(named)).await
}

/// `GET /api/v1/users/permissions/all`
pub(crate) async fn all_permissions(call: Call) -> Result<Reply, Fault> {
    let data = json!({ "permissions": **call.services.identity.roles().all() });
    Ok(Reply::ok("Permissions retrieved successfully", data))
}

/// `GET /api/v1/users/roles/{role}/permissions`
pub(crate) async fn role_permissions(call: Call) -> Result<Reply, Fault> {
    let role = call.permit.parameter("role").and_then(|name| name.parse::<Role>().ok());
    let role = role.ok_or_else(|| Fault::not_found("That role"))?;
    let data = json!({ "role": role, "permissions": **call.services.identity.roles().of(role) });
    Ok(Reply::ok("Permissions retrieved successfully", data))
}

/// `GET /api/v1/users/{id}/sessions`
pub(crate) async fn sessions(call: Call) -> Result<Reply, Fault> {
    let sessions = call.services.identity.sessions_of_person(subject(&call)?).await?;
    let current = call.principal().session.id;
    let list: Vec<Value> = sessions.iter().map(|view| session_json(view, current)).collect();
    Ok(Reply::ok("Sessions retrieved successfully", json!({ "sessions": list })).private())
}

/// `DELETE /api/v1/users/{id}/sessions`
pub(crate) async fn end_sessions(call: Call) -> Result<Reply, Fault> {
    let id = subject(&call)?;
    call.services.identity.end_sessions_of_person(&actor(&call), id, None, &call.caller()).await?;
    Ok(Reply::ok("Sessions ended successfully", Value::Null))
}

/// `DELETE /api/v1/users/{id}/sessions/{session}`
pub(crate) async fn end_session(call: Call) -> Result<Reply, Fault> {
    let id = subject(&call)?;
    let session = call.permit.parameter("session").and_then(|text| text.parse::<SessionId>().ok());
    let session = session.ok_or_else(|| Fault::not_found("That session"))?;
    call.services.identity.end_sessions_of_person(&actor(&call), id, Some(session), &call.caller()).await?;
    Ok(Reply::ok("Session ended successfully", Value::Null))
}

async fn change(call: &Call, change: PermissionChange) -> Result<Reply, Fault> {
    let id = subject(call)?;
    let view = call.services.identity.change_permissions(&actor(call), id, change, &call.caller()).await?;
    Ok(Reply::ok("Permissions updated successfully", permissions_json(&view)).private())
}

fn actor(call: &Call) -> Actor {
    Actor::Session(std::sync::Arc::clone(&call.principal().session))
}

/// Whose account the path names. What is no UUID names nobody.
fn subject(call: &Call) -> Result<UserId, Fault> {
    let id = call.permit.parameter("id").and_then(|text| text.parse::<UserId>().ok());
    id.ok_or_else(|| Fault::not_found("That user"))
}

fn permission(call: &Call) -> Result<Permission, Fault> {
    let text = call.permit.parameter("permission").unwrap_or_default();
    Permission::parse(text).map_err(|rejected| Fault::validation(vec![rejected.0]))
}

/// A role by its name. One that is not `required` may be left out: a new user's role is DEVELOPER.
fn role(body: &mut JsonObject, required: bool) -> Role {
    let text = if required { Some(body.text("role")) } else { body.optional_text("role") };
    match text.map(|text| text.parse::<Role>()) {
        None => Role::Developer,
        Some(Ok(role)) => role,
        Some(Err(_)) => {
            body.problem(format!("role must be {ROLES}"));
            Role::Developer
        }
    }
}

fn permissions_json(view: &PersonView) -> Value {
    json!({
        "rolePermissions": *view.role_permissions,
        "customPermissions": view.custom_permissions,
        "allPermissions": view.all_permissions(),
    })
}

fn with_permissions(view: &PersonView) -> Value {
    let mut user = json!(view.user);
    if let (Some(user), Value::Object(permissions)) = (user.as_object_mut(), permissions_json(view)) {
        user.extend(permissions);
    }
    user
}
