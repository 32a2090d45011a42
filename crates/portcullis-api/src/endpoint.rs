//! The one table of built-in endpoints: it gives the gate its routes, and the
//! number that the gate hands back with a permit finds the handler again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use portcullis_gate::{Destination, EndpointId, InboundBody, Permit, RouteSpec};
use portcullis_model::Permission;
use portcullis_model::policy::{
    AuthRequirement, BodyLimit, CsrfPolicy, LimitClass, MethodPermissions, Methods, RoutePolicy,
};

use crate::fault::FaultContext;
use crate::reply::ReplyBody;
use crate::{
    Call, Fault, Reply, Services, account, api_keys, audit, auth, csrf, gateway, health, idempotency, openapi,
    password, setup, system, users,
};

/// The largest body a built-in endpoint reads, in bytes.
const MAX_BODY: u64 = 1 << 20;
/// How long a built-in endpoint may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Reply, Fault>> + Send>>;

/// One built-in endpoint.
pub struct Endpoint {
    /// The method it answers; `GET` answers `HEAD` too.
    pub method: Method,
    /// Its canonical path, as the route label of metrics shows it.
    pub template: &'static str,
    who: Who,
    csrf: CsrfPolicy,
    limit: LimitClass,
    /// Whether it is done once under an `Idempotency-Key`: the handler gives [`Call::once`] to its use case.
    pub(crate) once: bool,
    handler: fn(Call) -> Answer,
}

/// Who may call an endpoint.
struct Who {
    auth: AuthRequirement,
    signed_in_only: bool,
    permission: Option<&'static str>,
}

/// `None` is everybody, `Required` whoever has a good credential, `SignedIn` no API key, and a permission in quotes
/// whoever holds it.
macro_rules! who {
    (None) => {
        Who { auth: AuthRequirement::None, signed_in_only: false, permission: Option::None }
    };
    (Required) => {
        Who { auth: AuthRequirement::Required, signed_in_only: false, permission: Option::None }
    };
    (SignedIn) => {
        Who { auth: AuthRequirement::Required, signed_in_only: true, permission: Option::None }
    };
    ($permission:literal) => {
        Who { auth: AuthRequirement::Required, signed_in_only: false, permission: Some($permission) }
    };
}

macro_rules! endpoint {
    (once $($row:tt)*) => {
        endpoint!(@true $($row)*)
    };
    (@$once:literal $method:ident $template:literal, $who:tt, $csrf:ident, $limit:ident, $($handler:ident)::+) => {
        Endpoint {
            method: Method::$method,
            template: $template,
            who: who!($who),
            csrf: CsrfPolicy::$csrf,
            limit: LimitClass::$limit,
            once: $once,
            handler: |call| Box::pin($($handler)::+(call)),
        }
    };
    ($($row:tt)*) => {
        endpoint!(@false $($row)*)
    };
}

static ENDPOINTS: &[Endpoint] = &[
    endpoint!(GET "/", None, Exempt, Api, system::root),
    endpoint!(GET "/metrics", None, Exempt, Exempt, system::metrics),
    endpoint!(GET "/setup", None, Exempt, Api, setup::page),
    endpoint!(GET "/.well-known/jwks.json", None, Exempt, Api, system::jwks),
    endpoint!(GET "/api/v1/versions", None, Exempt, Api, system::versions),
    endpoint!(GET "/api/v1/docs.json", None, Exempt, Api, openapi::json),
    endpoint!(GET "/api/v1/docs", None, Exempt, Api, openapi::html),
    endpoint!(GET "/api/v1/csrf-token", None, Exempt, Api, csrf::token),
    endpoint!(GET "/api/v1/health", None, Exempt, Exempt, health::process),
    endpoint!(GET "/api/v1/health/live", None, Exempt, Exempt, health::process),
    endpoint!(GET "/api/v1/health/ready", None, Exempt, Exempt, health::ready),
    endpoint!(GET "/api/v1/health/detailed", None, Exempt, Exempt, health::detailed),
    endpoint!(GET "/api/v1/health/services", None, Exempt, Exempt, health::services),
    endpoint!(POST "/api/v1/auth/register", None, ExemptUnlessCookie, Auth, auth::register),
    endpoint!(POST "/api/v1/auth/login", None, ExemptUnlessCookie, Auth, auth::login),
    endpoint!(POST "/api/v1/auth/refresh", None, ExemptWithOriginCheck, Auth, auth::refresh),
    endpoint!(POST "/api/v1/auth/logout", None, ExemptUnlessCookie, Api, auth::logout),
    endpoint!(POST "/api/v1/auth/verify-email", None, ExemptUnlessCookie, Auth, auth::verify_email),
    endpoint!(POST "/api/v1/auth/resend-verification", None, ExemptUnlessCookie, Auth, password::resend_verification),
    endpoint!(POST "/api/v1/auth/forgot-password", None, ExemptUnlessCookie, Auth, password::forgot),
    endpoint!(POST "/api/v1/auth/reset-password", None, ExemptUnlessCookie, Auth, password::reset),
    endpoint!(POST "/api/v1/auth/change-password", SignedIn, ExemptUnlessCookie, Api, password::change),
    endpoint!(POST "/api/v1/auth/first-administrator", None, ExemptUnlessCookie, Auth, setup::claim),
    endpoint!(GET "/api/v1/auth/profile", Required, ExemptUnlessCookie, Api, account::profile),
    endpoint!(PUT "/api/v1/auth/profile", SignedIn, ExemptUnlessCookie, Api, account::update_profile),
    endpoint!(GET "/api/v1/auth/sessions", SignedIn, ExemptUnlessCookie, Api, account::sessions),
    endpoint!(DELETE "/api/v1/auth/sessions/{id}", SignedIn, ExemptUnlessCookie, Api, account::end_session),
    endpoint!(GET "/api/v1/api-keys", SignedIn, Checked, Api, api_keys::list),
    endpoint!(once POST "/api/v1/api-keys", SignedIn, Checked, Api, api_keys::create),
    endpoint!(DELETE "/api/v1/api-keys/{id}", SignedIn, Checked, Api, api_keys::revoke),
    endpoint!(GET "/api/v1/users", "USER_VIEW", Checked, Api, users::list),
    endpoint!(once POST "/api/v1/users", "USER_CREATE", Checked, Api, users::create),
    endpoint!(GET "/api/v1/users/permissions/all", "USER_VIEW", Checked, Api, users::all_permissions),
    endpoint!(GET "/api/v1/users/roles/{role}/permissions", "USER_VIEW", Checked, Api, users::role_permissions),
    endpoint!(GET "/api/v1/users/{id}", "USER_VIEW", Checked, Api, users::show),
    endpoint!(PUT "/api/v1/users/{id}", "USER_EDIT", Checked, Api, users::edit),
    endpoint!(DELETE "/api/v1/users/{id}", "USER_DELETE", Checked, Api, users::delete),
    endpoint!(PUT "/api/v1/users/{id}/role", "USER_MANAGE_ROLES", Checked, Api, users::set_role),
    endpoint!(GET "/api/v1/users/{id}/permissions", "USER_VIEW", Checked, Api, users::permissions),
    endpoint!(PUT "/api/v1/users/{id}/permissions", "USER_MANAGE_PERMISSIONS", Checked, Api, users::set_permissions),
    endpoint!(POST "/api/v1/users/{id}/permissions/{permission}", "USER_MANAGE_PERMISSIONS", Checked, Api,
        users::add_permission),
    endpoint!(DELETE "/api/v1/users/{id}/permissions/{permission}", "USER_MANAGE_PERMISSIONS", Checked, Api,
        users::remove_permission),
    endpoint!(GET "/api/v1/users/{id}/sessions", "USER_VIEW", Checked, Api, users::sessions),
    endpoint!(DELETE "/api/v1/users/{id}/sessions", "USER_EDIT", Checked, Api, users::end_sessions),
    endpoint!(DELETE "/api/v1/users/{id}/sessions/{session}", "USER_EDIT", Checked, Api, users::end_session),
    endpoint!(GET "/api/v1/gateway/explain", "GATEWAY_EXPLAIN", Checked, Api, gateway::explain),
    endpoint!(GET "/api/v1/gateway/refusals", "GATEWAY_VIEW", Checked, Api, gateway::refusals),
    endpoint!(GET "/api/v1/gateway/refusals/{requestId}", "GATEWAY_VIEW", Checked, Api, gateway::refusal),
    endpoint!(GET "/api/v1/gateway/limits", "GATEWAY_VIEW", Checked, Api, gateway::limits),
    endpoint!(DELETE "/api/v1/gateway/limits", "SYSTEM_MANAGE_SETTINGS", Checked, Api, gateway::reset_limits),
    endpoint!(GET "/api/v1/audit-logs", "SYSTEM_VIEW_AUDIT_LOGS", Checked, Api, audit::list),
];

/// Every built-in endpoint.
pub fn endpoints() -> &'static [Endpoint] {
    ENDPOINTS
}

/// The built-in endpoints as the gate's route table takes them.
pub fn route_specs() -> Vec<RouteSpec> {
    ENDPOINTS
        .iter()
        .enumerate()
        .map(|(index, endpoint)| RouteSpec {
            template: endpoint.template.to_owned(),
            methods: Methods::Only(vec![endpoint.method.as_str().to_owned()]),
            policy: RoutePolicy {
                signed_in_only: endpoint.who.signed_in_only,
                permissions: MethodPermissions {
                    always: endpoint.who.permission.into_iter().map(Permission::built_in).collect(),
                    ..MethodPermissions::default()
                },
                csrf: endpoint.csrf,
                limit_class: endpoint.limit,
                max_body: BodyLimit::Bytes(MAX_BODY),
                timeout: TIMEOUT,
                ..RoutePolicy::requiring(endpoint.who.auth)
            },
            destination: Destination::BuiltIn(EndpointId(
                u16::try_from(index).expect("far fewer than 65,536 endpoints"),
            )),
        })
        .collect()
}

/// Answers a permitted request to a built-in endpoint.
pub async fn answer(
    services: &Arc<Services>,
    id: EndpointId,
    permit: Permit,
    request: Request<InboundBody>,
    context: FaultContext<'_>,
) -> Response<ReplyBody> {
    let endpoint = &ENDPOINTS[usize::from(id.0)];
    let mut call = Call::new(Arc::clone(services), permit, request);
    let answering = async {
        if endpoint.once && call.headers.contains_key(idempotency::KEY) {
            idempotency::name(endpoint, &mut call).await?;
        }
        (endpoint.handler)(call).await
    };
    match tokio::time::timeout(TIMEOUT, answering).await {
        Ok(Ok(reply)) => reply.into_response(context.path, &services.clock),
        Ok(Err(fault)) => fault.into_response(context, &services.clock),
        Err(_elapsed) => Fault::unavailable().into_response(context, &services.clock),
    }
}
