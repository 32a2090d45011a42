//! The last phase: whether the caller may use the route.

use std::net::IpAddr;

use http::Method;
use portcullis_model::SessionState;
use portcullis_model::policy::{AuthRequirement, RoutePolicy};

use crate::credential::Credential;
use crate::decision::refusal::Refusal;

/// What the phase needs to know of a request.
pub(crate) struct Caller<'a> {
    pub(crate) method: &'a Method,
    pub(crate) credential: &'a Credential,
    pub(crate) client: IpAddr,
    /// The time of the request, in Unix seconds.
    pub(crate) now: i64,
    /// Whether the revocations of other replicas are known, up to a moment ago.
    pub(crate) is_current: bool,
}

/// Checks the credential first (400, 401), then the network, then role and permissions (403), then the database (503).
pub(crate) fn authorise(policy: &RoutePolicy, caller: &Caller<'_>) -> Result<(), Refusal> {
    let session = authenticate(policy, caller)?;
    check_network(policy, caller)?;
    if let Some(session) = session {
        check_rights(policy, caller.method, session)?;
    }
    if policy.needs_database && !caller.is_current {
        return Err(Refusal::Unavailable);
    }
    Ok(())
}

/// Checks a CORS preflight that the upstream answers. It has no credential, and reaches the upstream without identity.
pub(crate) fn authorise_preflight(policy: &RoutePolicy, caller: &Caller<'_>) -> Result<(), Refusal> {
    check_network(policy, caller)
}

fn check_network(policy: &RoutePolicy, caller: &Caller<'_>) -> Result<(), Refusal> {
    let is_allowed = policy.networks.is_empty() || policy.networks.iter().any(|net| net.contains(&caller.client));
    is_allowed.then_some(()).ok_or(Refusal::NetworkNotAllowed)
}

/// Returns the session of the caller, on a route that checks credentials.
fn authenticate<'c>(policy: &RoutePolicy, caller: &Caller<'c>) -> Result<Option<&'c SessionState>, Refusal> {
    if policy.auth == AuthRequirement::None {
        return Ok(None);
    }
    let session = match caller.credential {
        Credential::Ambiguous => return Err(Refusal::TwoCredentials),
        Credential::Invalid => return Err(Refusal::InvalidCredential),
        Credential::Unconfirmed => return Err(Refusal::EmailNotVerified),
        Credential::Undecided => return Err(Refusal::Unavailable),
        Credential::None if policy.auth == AuthRequirement::Required => return Err(Refusal::CredentialRequired),
        Credential::None => return Ok(None),
        Credential::Valid(principal) => &*principal.session,
    };
    // An API key never signed in, so it has no age: `check_rights` refuses it.
    if let Some(most) = policy.max_session_age.filter(|_| session.is_signed_in())
        && caller.now.saturating_sub(session.authenticated_at) > i64::try_from(most.as_secs()).unwrap_or(i64::MAX)
    {
        return Err(Refusal::SignInTooOld { most });
    }
    Ok(Some(session))
}

fn check_rights(policy: &RoutePolicy, method: &Method, session: &SessionState) -> Result<(), Refusal> {
    if (policy.signed_in_only || policy.max_session_age.is_some()) && !session.is_signed_in() {
        return Err(Refusal::SignInRequired);
    }
    if policy.minimum_role.is_some_and(|minimum| session.role_in_force() < Some(minimum)) {
        return Err(Refusal::NotPermitted);
    }
    if !policy.permissions.required(method.as_str()).all(|permission| session.permissions.contains(permission)) {
        return Err(Refusal::NotPermitted);
    }
    if policy.verified_email && !session.email_verified {
        return Err(Refusal::EmailNotVerified);
    }
    Ok(())
}
