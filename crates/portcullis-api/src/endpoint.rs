//! The one table of built-in endpoints. It gives the gate its routes; the number that the gate hands back with a permit
//! finds the handler again. A row names the types of the request and of the response, from which the API's document is
//! made.

pub(crate) mod row;

use std::sync::Arc;

use http::{HeaderMap, Response};
use portcullis_gate::{Destination, EndpointId, InboundBody, Permit, RouteSpec};
use portcullis_model::Permission;
use portcullis_model::policy::Methods;

use row::Access::{Anyone, Authenticated, Holding, SignedIn};
use row::Endpoint;
use row::endpoint;

use crate::error::{ErrorContext, ErrorKind};
use crate::input::{Body, OptionalBody, Query, path};
use crate::openapi::ApiDescription;
use crate::reply::ReplyBody;
use crate::{
    ApiError, Call, Services, api_keys, audit, auth, errors, gateway, idempotency, openapi, setup, system, users,
};

// Method, path, who may call, CSRF rule, rate limit, operation: request => response, handler. A row that begins with
// `idempotent` honours an `Idempotency-Key`.
static ENDPOINTS: &[Endpoint] = &[
    endpoint!(GET "/", Anyone, Exempt, Api, system::ROOT => system::About, system::root),
    endpoint!(GET "/metrics", Anyone, Exempt, Exempt, system::metrics::METRICS => system::metrics::MetricsText,
        system::metrics::metrics),
    endpoint!(GET "/setup", Anyone, Exempt, Api, setup::PAGE => setup::Page, setup::page),
    endpoint!(GET "/.well-known/jwks.json", Anyone, Exempt, Api, system::JWKS => system::JwkSet, system::jwks),
    endpoint!(GET "/api/v1/versions", Anyone, Exempt, Api, system::VERSIONS => system::Versions, system::versions),
    endpoint!(GET "/api/v1/docs.json", Anyone, Exempt, Api, openapi::JSON => openapi::Document, openapi::json),
    endpoint!(GET "/api/v1/docs", Anyone, Exempt, Api, openapi::PAGE => openapi::Page, openapi::html),
    endpoint!(GET "/api/v1/csrf-token", Anyone, Exempt, Api, system::csrf::TOKEN => system::csrf::CsrfToken,
        system::csrf::token),
    endpoint!(GET "/api/v1/health", Anyone, Exempt, Exempt, system::health::HEALTH => system::health::ProcessHealth,
        system::health::health),
    endpoint!(GET "/api/v1/health/live", Anyone, Exempt, Exempt, system::health::LIVE => system::health::ProcessHealth,
        system::health::live),
    endpoint!(GET "/api/v1/health/ready", Anyone, Exempt, Exempt, system::health::READY => system::health::Readiness,
        system::health::ready),
    endpoint!(GET "/api/v1/health/detailed", Anyone, Exempt, Exempt,
        system::health::detailed::DETAILED => system::health::detailed::DetailedHealth, system::health::detailed::detailed),
    endpoint!(GET "/api/v1/health/services", Anyone, Exempt, Exempt,
        system::health::detailed::SERVICES => system::health::detailed::ServicesHealth,
        system::health::detailed::services),
    endpoint!(POST "/api/v1/auth/register", Anyone, ExemptUnlessCookie, Auth,
        auth::registration::REGISTER: Body<auth::registration::RegisterRequest> => auth::registration::Registered,
        auth::registration::register),
    endpoint!(POST "/api/v1/auth/login", Anyone, ExemptUnlessCookie, Auth,
        auth::sign_in::LOGIN: Body<auth::sign_in::LoginRequest> => auth::sign_in::SignedIn, auth::sign_in::login),
    endpoint!(POST "/api/v1/auth/refresh", Anyone, ExemptWithOriginCheck, Auth,
        auth::refresh::REFRESH: Body<auth::refresh::RefreshRequest> => auth::refresh::Refreshed,
        auth::refresh::refresh),
    endpoint!(POST "/api/v1/auth/logout", Anyone, ExemptUnlessCookie, Api,
        auth::logout::LOGOUT: OptionalBody<auth::logout::LogoutRequest> => (), auth::logout::logout),
    endpoint!(POST "/api/v1/auth/verify-email", Anyone, ExemptUnlessCookie, Auth,
        auth::email::VERIFY: Body<auth::email::VerifyEmailRequest> => (), auth::email::verify),
    endpoint!(POST "/api/v1/auth/resend-verification", Anyone, ExemptUnlessCookie, Auth,
        auth::email::RESEND: Body<auth::email::EmailRequest> => (), auth::email::resend),
    endpoint!(POST "/api/v1/auth/forgot-password", Anyone, ExemptUnlessCookie, Auth,
        auth::password::FORGOT: Body<auth::email::EmailRequest> => (), auth::password::forgot),
    endpoint!(POST "/api/v1/auth/reset-password", Anyone, ExemptUnlessCookie, Auth,
        auth::password::RESET: Body<auth::password::ResetPasswordRequest> => (), auth::password::reset),
    endpoint!(POST "/api/v1/auth/change-password", SignedIn, ExemptUnlessCookie, Auth,
        auth::password::CHANGE: Body<auth::password::ChangePasswordRequest> => (), auth::password::change),
    endpoint!(POST "/api/v1/auth/first-administrator", Anyone, ExemptUnlessCookie, Auth,
        setup::FIRST_ADMINISTRATOR: Body<setup::FirstAdministratorRequest> => setup::FirstAdministrator,
        setup::first_administrator),
    endpoint!(GET "/api/v1/auth/profile", Authenticated, ExemptUnlessCookie, Api,
        auth::profile::SHOW => users::UserData, auth::profile::show),
    endpoint!(PUT "/api/v1/auth/profile", SignedIn, ExemptUnlessCookie, Api,
        auth::profile::UPDATE: Body<auth::profile::ProfileRequest> => users::UserData, auth::profile::update),
    endpoint!(GET "/api/v1/auth/sessions", SignedIn, ExemptUnlessCookie, Api,
        auth::sessions::LIST => auth::sessions::Sessions, auth::sessions::list),
    endpoint!(DELETE "/api/v1/auth/sessions/{id}", SignedIn, ExemptUnlessCookie, Api,
        auth::sessions::END: path::OwnSession => (), auth::sessions::end),
    endpoint!(GET "/api/v1/api-keys", SignedIn, Checked, Api, api_keys::LIST => api_keys::ApiKeys, api_keys::list),
    endpoint!(idempotent POST "/api/v1/api-keys", SignedIn, Checked, Api,
        api_keys::CREATE: Body<api_keys::CreateApiKeyRequest> => api_keys::CreatedApiKey, api_keys::create),
    endpoint!(DELETE "/api/v1/api-keys/{id}", SignedIn, Checked, Api,
        api_keys::REVOKE: path::ApiKey => (), api_keys::revoke),
    endpoint!(GET "/api/v1/users", Holding(Permission::USER_VIEW), Checked, Api,
        users::list::LIST: Query<users::list::UsersQuery> => users::list::Users, users::list::list),
    endpoint!(idempotent POST "/api/v1/users", Holding(Permission::USER_CREATE), Checked, Api,
        users::invitation::INVITE: Body<users::invitation::InviteRequest> => users::invitation::Invited,
        users::invitation::invite),
    endpoint!(GET "/api/v1/users/permissions/all", Holding(Permission::USER_VIEW), Checked, Api,
        users::roles::ALL_PERMISSIONS => users::roles::AllPermissions, users::roles::all_permissions),
    endpoint!(GET "/api/v1/users/roles/{role}/permissions", Holding(Permission::USER_VIEW), Checked, Api,
        users::roles::ROLE_PERMISSIONS: path::Role => users::roles::RolePermissions, users::roles::role_permissions),
    endpoint!(GET "/api/v1/users/{id}", Holding(Permission::USER_VIEW), Checked, Api,
        users::account::SHOW: path::User => users::account::UserWithPermissionsData, users::account::show),
    endpoint!(PUT "/api/v1/users/{id}", Holding(Permission::USER_EDIT), Checked, Api,
        users::account::EDIT: (path::User, Body<users::account::EditUserRequest>) => users::UserData,
        users::account::edit),
    endpoint!(DELETE "/api/v1/users/{id}", Holding(Permission::USER_DELETE), Checked, Api,
        users::account::DELETE: path::User => (), users::account::delete),
    endpoint!(PUT "/api/v1/users/{id}/role", Holding(Permission::USER_MANAGE_ROLES), Checked, Api,
        users::account::SET_ROLE: (path::User, Body<users::account::SetRoleRequest>) => users::UserData,
        users::account::set_role),
    endpoint!(GET "/api/v1/users/{id}/permissions", Holding(Permission::USER_VIEW), Checked, Api,
        users::permissions::SHOW: path::User => users::permissions::UserPermissions, users::permissions::show),
    endpoint!(PUT "/api/v1/users/{id}/permissions", Holding(Permission::USER_MANAGE_PERMISSIONS), Checked, Api,
        users::permissions::SET: (Body<users::permissions::SetPermissionsRequest>, path::User)
            => users::permissions::UserPermissions,
        users::permissions::set),
    endpoint!(POST "/api/v1/users/{id}/permissions/{permission}", Holding(Permission::USER_MANAGE_PERMISSIONS), Checked,
        Api, users::permissions::ADD: (path::Permission, path::User) => users::permissions::UserPermissions,
        users::permissions::add),
    endpoint!(DELETE "/api/v1/users/{id}/permissions/{permission}", Holding(Permission::USER_MANAGE_PERMISSIONS),
        Checked, Api, users::permissions::REMOVE: (path::Permission, path::User)
            => users::permissions::UserPermissions,
        users::permissions::remove),
    endpoint!(GET "/api/v1/users/{id}/sessions", Holding(Permission::USER_EDIT), Checked, Api,
        users::sessions::LIST: path::User => auth::sessions::Sessions, users::sessions::list),
    endpoint!(DELETE "/api/v1/users/{id}/sessions", Holding(Permission::USER_EDIT), Checked, Api,
        users::sessions::END_ALL: path::User => (), users::sessions::end_all),
    endpoint!(DELETE "/api/v1/users/{id}/sessions/{session}", Holding(Permission::USER_EDIT), Checked, Api,
        users::sessions::END: (path::User, path::Session) => (), users::sessions::end),
    endpoint!(GET "/api/v1/gateway/explain", Holding(Permission::GATEWAY_EXPLAIN), Checked, Api,
        gateway::explain::EXPLAIN: Query<gateway::explain::ExplainQuery> => gateway::explain::ExplanationData,
        gateway::explain::explain),
    endpoint!(GET "/api/v1/gateway/refusals", Holding(Permission::GATEWAY_VIEW), Checked, Api,
        gateway::refusals::LIST: Query<gateway::refusals::RefusalsQuery> => gateway::refusals::Refusals,
        gateway::refusals::list),
    endpoint!(GET "/api/v1/gateway/refusals/{requestId}", Holding(Permission::GATEWAY_VIEW), Checked, Api,
        gateway::refusals::SHOW: path::RequestId => gateway::refusals::RefusalData, gateway::refusals::show),
    endpoint!(GET "/api/v1/gateway/limits", Holding(Permission::GATEWAY_VIEW), Checked, Api,
        gateway::rate_limits::SHOW: Query<gateway::rate_limits::LimitsQuery> => gateway::rate_limits::RateLimits,
        gateway::rate_limits::show),
    endpoint!(DELETE "/api/v1/gateway/limits", Holding(Permission::SYSTEM_MANAGE_SETTINGS), Checked, Api,
        gateway::rate_limits::RESET: Query<gateway::rate_limits::ResetQuery> => gateway::rate_limits::RateLimitsReset,
        gateway::rate_limits::reset),
    endpoint!(GET "/api/v1/errors", Holding(Permission::SYSTEM_VIEW_LOGS), Checked, Api,
        errors::LIST: Query<errors::ErrorsQuery> => errors::Errors, errors::list),
    endpoint!(DELETE "/api/v1/errors/{id}", Holding(Permission::SYSTEM_MANAGE_SETTINGS), Checked, Api,
        errors::DELETE: path::ErrorGroup => (), errors::delete),
    endpoint!(GET "/api/v1/audit-logs", Holding(Permission::SYSTEM_VIEW_AUDIT_LOGS), Checked, Api,
        audit::LIST: Query<audit::AuditQuery> => audit::AuditLogs, audit::list),
];

/// The path of the metrics, which may have a listener of its own.
const METRICS_PATH: &str = "/metrics";

static DESCRIPTION: ApiDescription = ApiDescription::new(ENDPOINTS);

/// Returns the description of the built-in endpoints.
pub fn description() -> &'static ApiDescription {
    &DESCRIPTION
}

/// Returns every built-in endpoint.
pub fn endpoints() -> &'static [Endpoint] {
    ENDPOINTS
}

/// Returns the built-in endpoints as the gate's route table takes them.
pub fn route_specs() -> Vec<RouteSpec> {
    let number = |index: usize| EndpointId(u16::try_from(index).expect("far fewer than 65,536 endpoints"));
    let numbered = ENDPOINTS.iter().enumerate();
    numbered
        .map(|(index, endpoint)| RouteSpec {
            template: endpoint.template.to_owned(),
            methods: Methods::Only(vec![endpoint.method.as_str().to_owned()]),
            policy: endpoint.policy(),
            destination: Destination::BuiltIn(number(index)),
        })
        .collect()
}

/// Returns the one endpoint that a listener of metrics has.
pub fn metrics_route_specs() -> Vec<RouteSpec> {
    route_specs().into_iter().filter(|spec| spec.template == METRICS_PATH).collect()
}

/// Whether an endpoint is the one of [`metrics_route_specs`].
pub fn is_metrics(id: EndpointId) -> bool {
    ENDPOINTS[usize::from(id.0)].template == METRICS_PATH
}

/// Responds to a permitted request to a built-in endpoint.
pub async fn respond(
    services: &Arc<Services>,
    id: EndpointId,
    permit: Permit,
    headers: HeaderMap,
    body: InboundBody,
    context: ErrorContext<'_>,
) -> Response<ReplyBody> {
    let endpoint = &ENDPOINTS[usize::from(id.0)];
    let mut call = Call::new(Arc::clone(services), permit, headers, body);
    let response = async {
        if endpoint.idempotent && call.headers.contains_key(idempotency::KEY) {
            idempotency::read_key(&endpoint.method, endpoint.template, &mut call).await?;
        }
        (endpoint.handler)(call).await
    };
    match tokio::time::timeout(row::TIMEOUT, response).await {
        Ok(Ok(reply)) => reply.into_response(context.path, &services.clock),
        Ok(Err(error)) => error.into_response(context, &services.clock),
        Err(_elapsed) => ApiError::from(ErrorKind::UNAVAILABLE).into_response(context, &services.clock),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::LimitClass;

    use super::*;

    /// A request with a new or current password is a request that hashes.
    #[test]
    fn sr_57_endpoints_that_hash_have_the_limit_of_sign_ins() {
        let document: serde_json::Value = serde_json::from_str(description().json()).expect("JSON");
        let takes_a_password = |endpoint: &Endpoint| {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let body = &document["paths"][endpoint.template][method]["requestBody"]["content"]["application/json"];
            let name = body["schema"]["$ref"].as_str().and_then(|path| document.pointer(&path[1..]));
            name.is_some_and(|schema| schema["properties"].to_string().contains("\"format\":\"password\""))
        };
        let hashing: Vec<_> = endpoints().iter().filter(|endpoint| takes_a_password(endpoint)).collect();
        assert_eq!(hashing.len(), 5, "register, login, reset, change, first administrator");
        for endpoint in hashing {
            assert_eq!(endpoint.limit, LimitClass::Auth, "{}", endpoint.template);
        }
    }
}
