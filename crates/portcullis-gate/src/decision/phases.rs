//! The gate: every phase that a request passes, in the order it passes them.
//!
//! | phase | why there |
//! |---|---|
//! | identify | logs, traces and responses of all later phases carry the request id |
//! | framing | a request whose length is ambiguous must not be read further |
//! | path | routes are matched on the normalised path, which is also the one an upstream gets |
//! | route | 404 and 405 are the same for every caller, so they reveal nothing |
//! | size | needs the route's limit; belongs to framing, and so stands before the version |
//! | version | needs the route, because its refusals come after 404 |
//! | cors | preflights carry no credential and count against no limit |
//! | address limits | before any work that an anonymous client could cause |
//! | classify | finds the principal and refuses nothing |
//! | caller limits | need the principal |
//! | csrf | before authorisation, so that another site does not learn whether a user is signed in |
//! | authorise | everything else is known, and the destination is next |

use std::sync::Arc;

use http::header::HeaderMap;
use hyper::body::Incoming;
use portcullis_model::policy::{CorsPolicy, LimitClass};
use portcullis_model::{Clock, SessionSource};

use crate::credential::Credential;
use crate::credential::classifier::Classifier;
use crate::credential::presented::PresentedCredentials;
use crate::csrf::check::{check_pair, must_be_same_site, needs_token, pre_session};
use crate::csrf::config::CsrfMode;
use crate::csrf::presented_token::presented_token;
use crate::csrf::same_site::SiteRules;
use crate::decision::authorise::{Caller, authorise, authorise_preflight};
use crate::decision::context::RequestContext;
use crate::decision::description::{describe_credential, describe_origin, describe_outcome, describe_policy};
use crate::decision::effects::Effects;
use crate::decision::phase::Phase;
use crate::decision::refusal::{Malformation, Refusal};
use crate::decision::verdict::{Admission, Decision};
use crate::limits::key::RateLimitKey;
use crate::limits::limiter::{Charge, Limiter};
use crate::limits::rules::RateLimitRule;
use crate::limits::state::RateLimitOutcome;
use crate::request::body::InboundBody;
use crate::request::client_address::RequestSource;
use crate::request::cookies::Cookies;
use crate::request::head::{RequestHead, is_unsafe};
use crate::request::head_fault::HeadFault;
use crate::request::path;
use crate::request::query::without_csrf_token;
use crate::response::plan::ResponsePlan;
use crate::routes::requested_path::{Api, RequestedPath};
use crate::routes::route::Destination;
use crate::routes::table::Match;

/// The parts of the gate that the phases use.
#[derive(Clone, Copy)]
pub(crate) struct Services<'g> {
    pub(crate) classifier: &'g Classifier,
    pub(crate) sessions: &'g dyn SessionSource,
    pub(crate) limiter: &'g Limiter,
    pub(crate) clock: &'g Clock,
}

/// Takes a request through all phases. `assumed_credential` takes the place of the credential that the request presents.
pub(crate) async fn decide<E: Effects>(
    services: Services<'_>,
    context: &mut RequestContext,
    head: &RequestHead<'_>,
    body: Option<Incoming>,
    assumed_credential: Option<Credential>,
    effects: &mut E,
) -> Result<Decision, Refusal> {
    let config = Arc::clone(&context.config);
    let now = services.clock.unix_seconds();
    context.response.decided_at = now;
    let RequestHead { method, uri, headers, .. } = *head;

    // Every response gets CORS headers, so the origin is checked first. That refuses nothing.
    context.response.check_origin(&config.allowed_origins, headers);

    effects.enter(Phase::Framing);
    if head.fault == Some(HeadFault::TooLarge) {
        return Err(Refusal::HeadTooLarge);
    }
    let Ok(framing) = head.framing() else {
        context.response.close_connection = true;
        return Err(Refusal::Malformed(Malformation::Framing));
    };
    if !head.has_valid_host(&framing) {
        return Err(Refusal::Malformed(Malformation::Host));
    }
    if head.is_target_too_long() {
        return Err(Refusal::UrlTooLong);
    }
    if head.has_unknown_expectation() {
        return Err(Refusal::ExpectationFailed);
    }

    effects.enter(Phase::Path);
    let normalised = path::normalise(uri.path()).map_err(|_| Refusal::Malformed(Malformation::Path))?;

    effects.enter(Phase::Route);
    let preflight_for = head.preflight_method();
    let wanted = preflight_for.as_ref().unwrap_or(method);
    let api = Api { versions: &config.versions, routes: &config.routes, clock: services.clock };
    let in_version = RequestedPath::resolve(api, &normalised, headers, uri.query())?;
    context.response.version = in_version.response_version;
    let as_sent;
    let mut requested = &in_version;
    let mut found = config.routes.find(&requested.path, wanted);
    if !requested.is_settled_by(&found) {
        as_sent = requested.without_version(api)?;
        requested = &as_sent;
        found = config.routes.find(&requested.path, wanted);
    }
    effects.note(|| format!("the canonical path is {}", requested.path));
    let (route, metrics, parameters) = match found {
        Match::Route { route, metrics, parameters } => (Arc::clone(route), metrics, parameters),
        Match::WrongMethod { routes } => {
            context.in_flight = effects.request_begins(&routes.metrics, method);
            return Err(Refusal::MethodNotAllowed { allow: routes.allow_header() });
        }
        Match::NotFound => return Err(Refusal::NotFound),
    };
    context.in_flight = effects.request_begins(metrics, method);
    context.response.has_security_headers = route.policy.security_headers;
    context.is_proxied = matches!(route.destination, Destination::Upstream(_));
    effects.route_matched(&route);
    let policy = &route.policy;

    effects.enter(Phase::Size);
    if framing.length.is_some_and(|length| policy.max_body.exceeded_by(length)) {
        return Err(Refusal::PayloadTooLarge);
    }
    effects.note(|| format!("the largest body: {}", policy.max_body));

    effects.enter(Phase::Version);
    requested.check_version(api, policy.outlives_versions)?;
    effects.note(|| context.version_name().map_or_else(|| "not part of the API".to_owned(), str::to_owned));

    effects.enter(Phase::Cors);
    let allowed_origins = route.allowed_origins.as_ref().unwrap_or(&config.allowed_origins);
    if route.allowed_origins.is_some() {
        context.response.check_origin(allowed_origins, headers);
    }
    effects.note(|| describe_origin(headers, context.response.allowed_origin.is_some()));
    let leaves_cors = policy.cors == CorsPolicy::Upstream;
    if leaves_cors {
        effects.note(|| "the upstream answers CORS".to_owned());
    } else if route.cors_lists.is_some() {
        context.response.cors_of_route = Some(Arc::clone(&route));
    }
    // A browser sends no credential with a preflight, so an upstream that answers it gets it without one.
    let is_upstreams_preflight = leaves_cors && preflight_for.is_some();
    if !leaves_cors && preflight_for.is_some() {
        context.response.preflight = preflight_for;
        return Ok(Decision::Preflight);
    }

    effects.enter(Phase::AddressLimits);
    let source = RequestSource::find(head.peer, framing.host, headers, &config.trusted_proxies);
    context.client = Some(source.client);
    context.is_https = source.https;
    effects.source_found(&source, headers);
    let for_class = match policy.limit_class {
        LimitClass::Auth => config.limits.auth.as_ref(),
        LimitClass::Api => config.limits.api.as_ref(),
        LimitClass::Exempt => None,
    };
    let shared_charges = || {
        let rules = for_class.into_iter().chain(&route.limits.before_caller);
        charges(rules, head.headers, &source, &Credential::None)
    };
    limit(services.limiter, shared_charges(), &mut context.response, effects).await?;

    effects.enter(Phase::Classify);
    let cookies = Cookies::read(headers, config.environment);
    let presented = PresentedCredentials::read(headers, &cookies);
    let (credential, cookie_session) = match assumed_credential {
        _ if is_upstreams_preflight => (Credential::None, None),
        Some(credential) => (credential, None),
        None => services.classifier.classify(&presented, now).await,
    };
    if let Some(session) = credential.session() {
        context.user = Some(session.user_id);
        effects.session_used(session, now);
    }
    effects.note(|| describe_credential(&credential));

    effects.enter(Phase::CallerLimits);
    let for_kind = match policy.limit_class {
        LimitClass::Api if is_unsafe(method) => config.limits.writes.as_ref(),
        LimitClass::Api => config.limits.reads.as_ref(),
        LimitClass::Auth | LimitClass::Exempt => None,
    };
    let by_caller = for_kind.into_iter().chain(&route.limits.by_caller);
    let caller_charges = charges(by_caller, head.headers, &source, &credential);
    if let Err(refusal) = limit(services.limiter, caller_charges, &mut context.response, effects).await {
        // A request that the caller's own limit refuses must not count against the limits shared with other callers.
        services.limiter.refund(shared_charges(), effects.counting()).await;
        return Err(refusal);
    }

    effects.enter(Phase::Csrf);
    let mut body =
        body.map_or_else(InboundBody::default, |body| InboundBody::new(body, policy.max_body, config.body_timeout));
    if context.may_be_shown() || context.span.is_some() {
        context.received = body.count();
    }
    let csrf_session = cookie_session.as_ref().map(|session| session.id.to_string().into_boxed_str());
    let by_cookie = cookie_session.is_some();
    if must_be_same_site(policy, method, headers, by_cookie) {
        let public_origin = config.public_origin.as_ref();
        let site = SiteRules { public_origin, allowed: allowed_origins, source: &source };
        if !site.allow_cookie_request(headers) {
            refuse_for_csrf(config.csrf.mode, context, Refusal::CrossSite, effects)?;
        }
    }
    if !credential.is_api_key() && needs_token(config.csrf.mode, policy, method, &cookies, by_cookie) {
        effects.note(|| "the token pair is needed".to_owned());
        let identifier = csrf_session.as_deref().or_else(|| pre_session(&cookies));
        let token = presented_token(headers, uri.query(), &mut body).await?;
        if let Err(reason) = check_pair(&config.csrf, &cookies, identifier, token.as_deref()) {
            let refusal = Refusal::InvalidCsrf { reason, bearer_only: presented.is_bearer_only() };
            refuse_for_csrf(config.csrf.mode, context, refusal, effects)?;
        }
    } else {
        effects.note(|| "no token is needed".to_owned());
    }

    effects.enter(Phase::Authorise);
    effects.note(|| describe_policy(policy, method));
    let is_current = !policy.needs_database || services.sessions.is_current();
    let caller = Caller { method, credential: &credential, client: source.client, now, is_current };
    if is_upstreams_preflight {
        authorise_preflight(policy, &caller)?;
    } else {
        authorise(policy, &caller)?;
    }
    if leaves_cors {
        // Refusals are the gateway's own, and have its headers. What follows is the upstream's.
        context.response.leave_cors();
    }

    let is_built_in = matches!(route.destination, Destination::BuiltIn(_));
    let admission = Admission {
        parameters: if is_built_in {
            parameters.iter().map(|(name, value)| (name.into(), value.into())).collect()
        } else {
            Vec::new()
        },
        query: uri.query().map(without_csrf_token),
        path: requested.path.clone().into_owned().into_boxed_str(),
        method: method.clone(),
        request_id: context.names.id,
        trace: context.names.trace,
        source,
        cookies,
        credential,
        csrf_session,
        route,
        config,
    };
    Ok(Decision::Permitted(Box::new(admission), body))
}

/// Returns the rules that count a request, each with the key it is counted under.
fn charges<'l>(
    rules: impl Iterator<Item = &'l Arc<RateLimitRule>> + Clone,
    headers: &HeaderMap,
    source: &RequestSource,
    credential: &Credential,
) -> impl Iterator<Item = Charge<'l>> + Clone {
    let role = credential.session().map(|session| session.role);
    rules.filter_map(move |rule| {
        RateLimitKey::of(&rule.limit, source.client, headers, credential).map(|key| Charge { rule, key, role })
    })
}

/// Counts a request, and keeps the tightest state for the response's headers.
async fn limit<'l, E: Effects>(
    limiter: &Limiter,
    charges: impl Iterator<Item = Charge<'l>> + Clone,
    response: &mut ResponsePlan,
    effects: &mut E,
) -> Result<(), Refusal> {
    let mut result = Ok(());
    let counting = effects.counting();
    let report = |outcome| {
        effects.note(|| describe_outcome(&outcome));
        result = keep(outcome, response);
        result.is_ok()
    };
    limiter.count(charges, counting, report).await;
    result
}

fn keep(outcome: RateLimitOutcome, response: &mut ResponsePlan) -> Result<(), Refusal> {
    let state = match outcome {
        RateLimitOutcome::Counted(state) => state,
        RateLimitOutcome::Uncounted => return Ok(()),
        RateLimitOutcome::Unavailable(_) => return Err(Refusal::Unavailable),
    };
    let refused = state.retry.map(|retry| Refusal::RateLimited { retry, limit: Arc::clone(&state.rule.limit.name) });
    response.tighten(state);
    refused.map_or(Ok(()), Err)
}

/// Refuses a request for CSRF, unless `csrf.mode = "report"` only reports it.
fn refuse_for_csrf<E: Effects>(
    mode: CsrfMode,
    context: &RequestContext,
    refusal: Refusal,
    effects: &mut E,
) -> Result<(), Refusal> {
    if mode != CsrfMode::Report {
        return Err(refusal);
    }
    effects.csrf_reported(context.route(), refusal.csrf_reason().unwrap_or("other"));
    Ok(())
}
