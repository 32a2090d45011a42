//! The gate: every phase a request passes, in the order it passes them.
//!
//! | phase | why there |
//! |---|---|
//! | identify | everything later logs, traces and answers by the request id |
//! | framing | a request whose length is ambiguous must not be read further |
//! | path | matched on one spelling, the one an upstream gets |
//! | route | 404 and 405 are for everyone, so that they tell nobody anything |
//! | size | needs the route's limit, and stands before the version as all of framing does |
//! | version | needs the route: its refusals come after 404 |
//! | cors | preflights carry no credential and cost no limit |
//! | address limits | before any work an anonymous client could make us do |
//! | classify | finds out who calls, and refuses nothing |
//! | caller limits | need to know who calls |
//! | csrf | before authentication: another site must not learn who is signed in |
//! | authorise | the last word before the destination |

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, ORIGIN, TRANSFER_ENCODING};
use http::{Method, Uri};
use hyper::body::Incoming;
use portcullis_model::policy::LimitClass;
use portcullis_model::{Role, SessionState};

use crate::asked::{check_version, locate};
use crate::authorise::{Caller, authorise};
use crate::body::InboundBody;
use crate::client_address::Origination;
use crate::config::{CsrfMode, GateConfig};
use crate::context::Context;
use crate::cookies::Cookies;
use crate::credential::{Credential, Presented, Via};
use crate::csrf_check::{
    check_csrf, is_unsafe, must_be_same_site, needs_csrf, pre_session, presented_csrf, without_csrf,
};
use crate::gate::Gate;
use crate::head_fault::HeadFault;
use crate::limits::{Charge, Count, Counted, Counting, Standing};
use crate::origin::same_site;
use crate::path;
use crate::phase::{Phase, Watch};
use crate::refusal::{Malformation, Refusal};
use crate::route_table::{Destination, Matched, Route};
use crate::subject::Subject;

/// The longest request target, in bytes (RFC 9110 §4.1 recommends at least 8000).
const MAX_URL_BYTES: usize = 16 * 1024;

/// What the gate decides by.
pub(crate) struct Head<'a> {
    pub(crate) peer: IpAddr,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// What is wrong with its bytes.
    pub(crate) bad: Option<HeadFault>,
    /// Whether its version of HTTP asks for a `Host`.
    pub(crate) needs_host: bool,
}

/// What was found out about a request that nothing speaks against. Opens nothing: that takes a `Permit`.
pub(crate) struct Judged {
    pub(crate) route: Arc<Route>,
    pub(crate) parameters: Vec<(Box<str>, Box<str>)>,
    pub(crate) path: Box<str>,
    pub(crate) query: Option<Box<str>>,
    pub(crate) from: Origination,
    pub(crate) cookies: Cookies,
    pub(crate) credential: Credential,
    pub(crate) csrf_session: Option<Box<str>>,
    pub(crate) body: InboundBody,
}

impl Gate {
    /// Takes a request through all phases; in a rehearsal perhaps as somebody else than its headers say.
    pub(crate) async fn judge<W: Watch>(
        &self,
        context: &mut Context,
        head: &Head<'_>,
        body: Option<Incoming>,
        rehearsed: Option<Credential>,
        watch: &mut W,
    ) -> Result<Judged, Refusal> {
        let config = Arc::clone(&context.config);
        let now = self.clock.unix_seconds();
        context.judged_at = now;
        let Head { method, uri, headers, .. } = *head;

        // CORS headers go on every answer, so the origin is looked at first; it refuses nothing.
        context.look_at_origin(&config.cors, headers);

        watch.enter(Phase::Framing);
        if head.bad == Some(HeadFault::TooLarge) {
            return Err(Refusal::HeadTooLarge);
        }
        if head.bad.is_some() || !is_framed(headers) || !names_one_host(head) {
            context.ambiguous = true;
            return Err(Refusal::Malformed(Malformation::Framing));
        }
        if uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_URL_BYTES) {
            return Err(Refusal::UrlTooLong);
        }
        if headers.get(EXPECT).is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            return Err(Refusal::ExpectationFailed);
        }

        watch.enter(Phase::Path);
        let spelled = path::normalise(uri.path()).map_err(|_| Refusal::Malformed(Malformation::Path))?;

        watch.enter(Phase::Route);
        let preflight_for = preflight_method(method, headers);
        let wanted = preflight_for.as_ref().unwrap_or(method);
        let asked = locate(&config, &spelled, headers, uri.query(), context)?;
        watch.note(|| format!("the canonical path is {}", asked.path));
        let (route, metrics, parameters) = match config.routes.find(&asked.path, wanted) {
            Matched::Route { route, metrics, parameters } => (Arc::clone(route), metrics, parameters),
            Matched::WrongMethod { allow, metrics } => {
                context.begin::<W>(metrics, method);
                return Err(Refusal::MethodNotAllowed { allow: allow.to_owned() });
            }
            Matched::Nothing => return Err(Refusal::NotFound),
        };
        context.begin::<W>(metrics, method);
        context.careful = route.policy.security_headers;
        watch.matched(&route);

        watch.enter(Phase::Size);
        if content_length(headers).is_some_and(|length| route.policy.max_body.exceeded_by(length)) {
            return Err(Refusal::PayloadTooLarge);
        }
        watch.note(|| format!("a body may have {}", route.policy.max_body));

        watch.enter(Phase::Version);
        check_version(&config, &asked, &self.clock)?;
        watch.note(|| context.version_name().map_or_else(|| "not part of the API".to_owned(), str::to_owned));

        watch.enter(Phase::Cors);
        let cors = route.cors.as_ref().unwrap_or(&config.cors);
        if route.cors.is_some() {
            context.look_at_origin(cors, headers);
        }
        watch.note(|| context.describe_origin(headers));
        if preflight_for.is_some() {
            context.preflight = true;
            return Err(Refusal::Preflight);
        }

        watch.enter(Phase::AddressLimits);
        let from = Origination::find(head.peer, headers, &config.trusted_proxies);
        context.client = Some(from.client);
        if !W::REHEARSAL {
            self.notice_forwarder(&from, headers);
        }
        let policy = &route.policy;
        let class = match policy.limit_class {
            LimitClass::Auth => config.limits.auth.as_ref(),
            LimitClass::Api => config.limits.api.as_ref(),
            LimitClass::Exempt => None,
        };
        let early = || charges(class.into_iter().chain(&route.limits.before), head.headers, &from, &Credential::None);
        self.limit(early(), context, watch).await?;

        watch.enter(Phase::Classify);
        let cookies = Cookies::read(headers, config.environment);
        let presented = Presented::read(headers, &cookies);
        let (credential, cookie_session) = match rehearsed {
            Some(credential) => (credential, None),
            None => self.classifier.classify(&presented, now, !W::REHEARSAL).await,
        };
        context.user = credential.session().map(|session| session.user_id);
        watch.note(|| credential.describe());

        watch.enter(Phase::CallerLimits);
        let preset = match policy.limit_class {
            LimitClass::Api if is_unsafe(method) => config.limits.writes.as_ref(),
            LimitClass::Api => config.limits.reads.as_ref(),
            LimitClass::Auth | LimitClass::Exempt => None,
        };
        let late = charges(preset.into_iter().chain(&route.limits.after), head.headers, &from, &credential);
        if let Err(refusal) = self.limit(late, context, watch).await {
            // Who has used up a limit of their own must not use up everybody's.
            if !W::REHEARSAL {
                self.limiter.give_back(early()).await;
            }
            return Err(refusal);
        }

        watch.enter(Phase::Csrf);
        let mut body =
            body.map_or_else(InboundBody::default, |body| InboundBody::new(body, policy.max_body, config.body_timeout));
        let csrf_session = cookie_session.as_ref().map(|session| session.id.to_string().into_boxed_str());
        if must_be_same_site(policy, method, cookie_session.is_some()) && !same_site(headers, &config, cors, &from) {
            self.enforce::<W>(&config, context, Refusal::CrossSite)?;
        }
        if !credential.is_api_key() && needs_csrf(&config, policy, method, &cookies, cookie_session.as_ref()) {
            watch.note(|| "the token pair is needed".to_owned());
            let identifier = csrf_session.as_deref().or_else(|| pre_session(&cookies));
            let presented_token = presented_csrf(headers, uri.query(), &mut body).await?;
            if let Err(reason) = check_csrf(&config, &cookies, identifier, presented_token.as_deref()) {
                let refusal = Refusal::InvalidCsrf { reason, bearer_only: presented.is_bearer_only() };
                self.enforce::<W>(&config, context, refusal)?;
            }
        } else {
            watch.note(|| "no token is needed".to_owned());
        }

        watch.enter(Phase::Authorise);
        watch.note(|| crate::explain::describe_policy(policy, method));
        let is_current = !policy.needs_database || self.sessions.is_current();
        authorise(policy, &Caller { method, credential: &credential, client: from.client, now, is_current })?;

        let built_in = matches!(route.destination, Destination::BuiltIn(_));
        Ok(Judged {
            parameters: if built_in {
                parameters.iter().map(|(k, v)| (k.into(), v.into())).collect()
            } else {
                Vec::new()
            },
            query: uri.query().map(without_csrf),
            path: asked.path.into_owned().into_boxed_str(),
            from,
            cookies,
            credential,
            csrf_session,
            body,
            route,
        })
    }

    /// Counts a request against some limits; in a rehearsal only looks.
    async fn limit<'l, W: Watch>(
        &self,
        charges: impl Iterator<Item = Charge<'l>> + Clone,
        context: &mut Context,
        watch: &mut W,
    ) -> Result<(), Refusal> {
        let counting = if W::REHEARSAL { Counting::Peek } else { Counting::Take };
        let mut verdict = Ok(());
        let told = |count| {
            watch.note(|| crate::explain::describe_count(&count));
            verdict = settle(context, count);
            verdict.is_ok()
        };
        self.limiter.count(charges, counting, told).await;
        verdict
    }

    /// Refuses for CSRF, or only writes it down (`csrf.mode = "report"`).
    fn enforce<W: Watch>(&self, config: &GateConfig, context: &Context, refusal: Refusal) -> Result<(), Refusal> {
        if config.csrf.mode != CsrfMode::Report {
            return Err(refusal);
        }
        if !W::REHEARSAL {
            let reason = refusal.csrf_reason().unwrap_or("other");
            self.metrics.csrf_report(reason);
            let (request_id, route) = (context.request_id.as_str(), context.route());
            tracing::info!(request_id, route, reason, "csrf.mode = \"always\" would refuse this request");
        }
        Ok(())
    }
}

impl Credential {
    pub(crate) fn session(&self) -> Option<&SessionState> {
        match self {
            Self::Good(principal) => Some(&principal.session),
            Self::None | Self::Two | Self::Bad | Self::Unknown => None,
        }
    }

    fn is_api_key(&self) -> bool {
        matches!(self, Self::Good(principal) if principal.via == Via::ApiKey)
    }
}

/// SR-39 for a parser that keeps both headers. hyper's parser drops one of them without an error; the edge finds those
/// heads and marks the request with a [`HeadFault`].
fn is_framed(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let one_length = lengths.next().is_some();
    lengths.next().is_none() && !(one_length && headers.contains_key(TRANSFER_ENCODING))
}

/// RFC 9112 §3.2: HTTP/1.1 names a host, once; and where the target names one too it is the same.
fn names_one_host(head: &Head<'_>) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next(), head.uri.authority()) {
        (Some(host), None, Some(authority)) => host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()),
        (Some(_), None, None) => true,
        (None, ..) => !head.needs_host,
        (Some(_), Some(_), _) => false,
    }
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The method a CORS preflight asks about.
fn preflight_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get("access-control-request-method")?.as_bytes()).ok()
}

/// What a request is counted against.
fn charges<'l>(
    limits: impl Iterator<Item = &'l Arc<Counted>> + Clone,
    headers: &HeaderMap,
    from: &Origination,
    credential: &Credential,
) -> impl Iterator<Item = Charge<'l>> + Clone {
    let role: Option<Role> = credential.session().map(|session| session.role);
    limits.filter_map(move |counted| {
        Subject::of(&counted.limit, from.client, headers, credential).map(|subject| (counted, subject, role))
    })
}

/// Keeps the tightest of the standings for the answer's headers.
fn settle(context: &mut Context, count: Count) -> Result<(), Refusal> {
    let standing = match count {
        Count::Counted(standing) => standing,
        Count::Open => return Ok(()),
        Count::Closed(_) => return Err(Refusal::Unavailable),
    };
    let retry = standing.retry.map(|retry| (retry, Arc::clone(&standing.counted.limit.name)));
    let tighter = |known: &Standing| known.retry.is_none() && standing.remaining <= known.remaining;
    if context.standing.as_ref().is_none_or(tighter) {
        context.standing = Some(standing);
    }
    match retry {
        Some((retry, limit)) => Err(Refusal::RateLimited { retry, limit }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn sr_39_two_lengths_are_malformed() {
        let mut headers = HeaderMap::new();
        assert!(is_framed(&headers));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert!(is_framed(&headers));
        headers.append(CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert!(!is_framed(&headers), "equal ones too");
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert!(!is_framed(&headers));
        headers.remove(CONTENT_LENGTH);
        assert!(is_framed(&headers));
    }
}
