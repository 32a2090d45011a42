//! The gate: what it consists of, and what it is asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use portcullis_model::policy::Environment;
use portcullis_model::{AccessTokenVerifier, Clock, Random, SessionSource, SharedLimits, Timestamp};
use portcullis_telemetry::traces::Tracer;
use portcullis_telemetry::{Metrics, RequestScope};

use crate::access_log::{AccessLog, AccessRecord};
use crate::config::GateConfig;
use crate::credential::classifier::Classifier;
use crate::csrf::tokens::IssuedCsrf;
use crate::decision::context::{RequestContext, RequestNames, RequestStart, accept};
use crate::decision::dry_run::{DryRun, DryRunCaller, DryRunEffects, Explanation};
use crate::decision::effects::LiveEffects;
use crate::decision::permit::Permit;
use crate::decision::phase::Phase;
use crate::decision::phases::{Services, decide};
use crate::decision::refusal::Refusal;
use crate::decision::refusal_log::{RefusalLog, RefusalRecord, shortened};
use crate::decision::verdict::{Admission, Decision, Verdict};
use crate::limits::inspection::{self, RateLimitReset, RateLimitUsage};
use crate::limits::key::RateLimitKey;
use crate::limits::limiter::Limiter;
use crate::live_streams::LiveStreams;
use crate::request::body::InboundBody;
use crate::request::client_address::Peer;
use crate::request::cookies::CookieName;
use crate::request::head::RequestHead;
use crate::request::head_fault::HeadFault;
use crate::request::request_id::RequestIds;
use crate::request::server_span;
use crate::request::trace_context::TraceContext;
use crate::request::untrusted_forwarder::UntrustedForwarder;

// A constant, because a name given as text is parsed at every look-up.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The gate that every request passes.
pub struct Gate {
    config: ArcSwap<GateConfig>,
    classifier: Classifier,
    sessions: Arc<dyn SessionSource>,
    limiter: Limiter,
    ids: RequestIds,
    clock: Clock,
    metrics: Metrics,
    streams: Arc<LiveStreams>,
    refusals: RefusalLog,
    forwarder: UntrustedForwarder,
    random: Random,
    /// The tracer of the process, if traces are sent anywhere.
    tracer: Option<&'static Tracer>,
}

/// The services that a gate is made of.
pub struct GateParts {
    /// Verifies access tokens.
    pub tokens: Arc<dyn AccessTokenVerifier>,
    /// Looks up sessions and API keys.
    pub sessions: Arc<dyn SessionSource>,
    /// Counts rate limits for all replicas together; `None` when each replica counts for itself.
    pub shared_limits: Option<Arc<dyn SharedLimits>>,
    /// The clock of limits and lifetimes.
    pub clock: Clock,
    /// The source of request ids and CSRF tokens.
    pub random: Random,
    /// Counts requests and refusals.
    pub metrics: Metrics,
}

impl Gate {
    /// Makes a gate that decides by `config` until it is swapped.
    pub fn new(parts: GateParts, config: GateConfig) -> Self {
        let GateParts { tokens, sessions, shared_limits, clock, random, metrics } = parts;
        Refusal::csrf_reasons().for_each(|reason| metrics.begin_csrf_reason(reason));
        begin_rate_limits(&metrics, &config);
        Self {
            config: ArcSwap::from_pointee(config),
            classifier: Classifier::new(tokens, Arc::clone(&sessions)),
            sessions,
            limiter: Limiter::new(clock.clone(), shared_limits),
            streams: LiveStreams::new(),
            refusals: RefusalLog::default(),
            forwarder: UntrustedForwarder::default(),
            ids: RequestIds::new(&random),
            clock,
            random,
            metrics,
            tracer: Tracer::get(),
        }
    }

    /// Begins a request: it gets its ids, and the configuration in force now decides it to its end.
    pub fn begin<B>(&self, peer: &Peer, request: &Request<B>) -> RequestContext {
        let config = self.config.load_full();
        let (id, span) = self.ids.next();
        let headers = request.headers();
        let is_trusted = || config.trust_incoming_traces || config.is_trusted_proxy(peer.address.ip().to_canonical());
        let mut trace = TraceContext::of_request(headers, id, span, config.propagation, is_trusted);
        let mut scope =
            RequestScope::new(id.as_bytes(), trace.id(), headers.get(REQUEST_ID).map(HeaderValue::as_bytes));
        let mut span = None;
        if let Some(tracer) = self.tracer
            && trace.decide(tracer, id)
        {
            scope = trace.recorded(&scope);
            span = Some(server_span::begin(tracer, &trace, request));
        }
        // The end of a response to HEAD is another one, so a span needs the method too.
        let keeps_method = span.is_some() || config.access_log != AccessLog::Off;
        let start = RequestStart {
            names: RequestNames { id, trace, scope },
            peer: peer.address.ip(),
            is_https: peer.https,
            uri: request.uri().clone(),
            method: keeps_method.then(|| request.method().clone()),
            accept: accept(headers),
            close_connection: request.extensions().get::<HeadFault>().is_some(),
            span,
            config,
        };
        RequestContext::new(start, &self.clock)
    }

    /// Returns the names of a request whose headers are not known.
    fn own_names(&self) -> RequestNames {
        let (id, span) = self.ids.next();
        let trace = TraceContext::begin(id, span);
        RequestNames { id, trace, scope: RequestScope::new(id.as_bytes(), trace.id(), None) }
    }

    /// Takes a request through all phases. Its head stays where it is, because it is long and a destination needs it next. The
    /// response must pass [`finish`](Self::finish).
    ///
    /// It awaits nothing when the session is in the session cache, the CSRF token is not in the body, and this process
    /// counts the limits itself.
    pub async fn pass(
        &self,
        context: &mut RequestContext,
        peer: &Peer,
        parts: &Parts,
        body: Incoming,
    ) -> Verdict<(Permit, InboundBody)> {
        let head = RequestHead {
            peer: *peer,
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            fault: parts.extensions.get::<HeadFault>().copied(),
            needs_host: parts.version >= Version::HTTP_11,
        };
        let (metrics, forwarder) = (&self.metrics, &self.forwarder);
        let mut effects = LiveEffects { metrics, forwarder, phase: Phase::Identify };
        let decided = decide(self.services(), context, &head, Some(body), None, &mut effects).await;
        if context.in_flight.is_none() {
            context.in_flight = Some(context.config.routes.unmatched().begin(&parts.method));
        }
        match decided {
            Ok(Decision::Permitted(admission, body)) => Verdict::Permitted((Permit(admission), body)),
            Ok(Decision::Preflight) => Verdict::Preflight,
            Err(refusal) => {
                self.record_refusal(&refusal, effects.phase, context, parts);
                Verdict::Refused(refusal)
            }
        }
    }

    /// Takes a request through all phases without serving it or counting it.
    pub async fn explain(&self, request: &DryRun) -> Explanation {
        let (names, config) = (self.own_names(), self.config());
        let start = RequestStart {
            names,
            peer: request.peer,
            is_https: false,
            uri: request.uri.clone(),
            method: None,
            accept: None,
            close_connection: false,
            span: None,
            config,
        };
        let mut context = RequestContext::new(start, &self.clock);
        let head = RequestHead {
            peer: Peer::from(SocketAddr::new(request.peer, 0)),
            method: &request.method,
            uri: &request.uri,
            headers: &request.headers,
            fault: None,
            needs_host: false,
        };
        let mut effects = DryRunEffects::default();
        let assumed_credential = request.caller.assumed_credential();
        let decided = decide(self.services(), &mut context, &head, None, assumed_credential, &mut effects).await;
        if matches!(request.caller, DryRunCaller::FromHeaders)
            && let Some(step) = effects.steps.iter_mut().find(|step| step.phase == Phase::Classify)
        {
            let (environment, now) = (context.config.environment, self.clock.unix_seconds());
            step.notes.extend(self.classifier.why_invalid(&request.headers, environment, now).await);
        }
        Explanation {
            route: effects.route,
            version: context.version_name().map(str::to_owned),
            steps: effects.steps,
            verdict: match decided {
                Ok(Decision::Permitted(..)) => Verdict::Permitted(()),
                Ok(Decision::Preflight) => Verdict::Preflight,
                Err(refusal) => Verdict::Refused(refusal),
            },
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn sessions(&self) -> &dyn SessionSource {
        &*self.sessions
    }

    fn services(&self) -> Services<'_> {
        let (classifier, sessions) = (&self.classifier, &*self.sessions);
        Services { classifier, sessions, limiter: &self.limiter, clock: &self.clock }
    }

    /// Returns the context of a response to bytes that the HTTP parser could not read as a request. The response goes
    /// through [`finish`](Self::finish), is counted without route and method, and closes the connection, because it is unknown
    /// where the next request begins.
    pub fn unparsed_request(&self, peer: &Peer) -> RequestContext {
        let mut names = self.own_names();
        let id = names.id;
        let recording = self.tracer.filter(|tracer| names.trace.decide(tracer, id));
        let start = RequestStart {
            span: recording.map(|tracer| server_span::unparsed(tracer, &names.trace)),
            names,
            peer: peer.address.ip(),
            is_https: peer.https,
            uri: Uri::from_static("/"),
            method: None,
            accept: None,
            close_connection: true,
            config: self.config.load_full(),
        };
        RequestContext::new(start, &self.clock)
    }

    /// Adds the gate's headers to a response and counts it. Every response passes here, refusals included. What is returned
    /// writes a line of the access log and ends the request's span when it is dropped, and so must live until the response's
    /// body has ended.
    pub fn finish<B>(&self, context: &mut RequestContext, response: &mut Response<B>) -> Option<AccessRecord> {
        context.finish(response)
    }

    /// Counts a refusal and keeps it in the refusal log.
    fn record_refusal(&self, refusal: &Refusal, phase: Phase, context: &RequestContext, parts: &Parts) {
        if let Refusal::RateLimited { limit, .. } = refusal {
            self.metrics.rate_limited(limit);
        } else if let Some(reason) = refusal.csrf_reason() {
            self.metrics.csrf_refusal(reason);
        }
        self.refusals.add(RefusalRecord {
            request_id: context.names.id,
            at: self.clock.now(),
            method: parts.method.clone(),
            path: shortened(parts.uri.path()),
            route: context.route().into(),
            client: context.client.unwrap_or(context.peer),
            user: context.user,
            phase,
            refusal: refusal.clone(),
        });
    }

    /// Returns the latest refusals of this process, the newest first.
    pub fn latest_refusals(&self, most: usize) -> Vec<RefusalRecord> {
        self.refusals.latest(most)
    }

    /// Returns the refusal of a request, while the refusal log of this process holds it.
    pub fn refusal_of(&self, request_id: &str) -> Option<RefusalRecord> {
        self.refusals.find(request_id)
    }

    /// Returns how much of each limit has been used under a key, without the limits that have not. Nothing is counted.
    pub async fn rate_limit_usage(&self, key: RateLimitKey) -> Vec<RateLimitUsage> {
        inspection::usage(&self.limiter, &self.config().rate_limit_rules(), key).await
    }

    /// Resets what has been counted under a key: by every limit, or by those of one name.
    pub async fn reset_rate_limits(&self, key: RateLimitKey, name: Option<&str>) -> RateLimitReset {
        inspection::reset(&self.limiter, &self.config().rate_limit_rules(), key, name).await
    }

    /// Returns the CSRF token for the request's session or pre-session: the one that the request carries while that is
    /// valid, because tabs share one cookie jar.
    pub fn issue_csrf(&self, permit: &Permit) -> IssuedCsrf {
        let Admission { config, cookies, .. } = &*permit.0;
        config.csrf.tokens.issue_to(permit.csrf_identifier(), cookies.csrf.value(), &self.random)
    }

    /// Returns the registry of live streams.
    pub fn streams(&self) -> &Arc<LiveStreams> {
        &self.streams
    }

    /// Decides by another configuration, from the next request on. Open streams are judged by it too.
    pub fn swap(&self, config: GateConfig) {
        begin_rate_limits(&self.metrics, &config);
        self.config.store(Arc::new(config));
        self.streams.doubt_all();
    }

    /// Returns the configuration in force.
    pub fn config(&self) -> Arc<GateConfig> {
        self.config.load_full()
    }

    /// Whether an address is one of the trusted proxies.
    pub fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.config.load().is_trusted_proxy(address.to_canonical())
    }

    /// Returns warnings for operators about the surroundings of this process.
    pub fn warnings(&self) -> Vec<String> {
        self.forwarder.warning(|address| self.is_trusted_proxy(address)).into_iter().collect()
    }

    /// Returns a cookie's name in the environment in force.
    pub fn cookie_name(&self, name: CookieName) -> &'static str {
        name.on_wire(self.config.load().environment)
    }

    /// Returns the state of every version of the API at `now`.
    pub fn versions(&self, now: Timestamp) -> crate::VersionsAt {
        self.config.load().versions.at(now)
    }

    /// Returns the environment in force.
    pub fn environment(&self) -> Environment {
        self.config.load().environment
    }
}

/// Begins the counters of a configuration's rate limits at zero.
fn begin_rate_limits(metrics: &Metrics, config: &GateConfig) {
    config.limits().iter().for_each(|(_, limit)| metrics.begin_rate_limit(&limit.name));
}
