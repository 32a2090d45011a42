//! The gate itself: what it is made of, what it decides by, and what it is asked beside requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use http::header::{HeaderMap, HeaderName};
use http::{Method, Request, Version};
use hyper::body::Incoming;
use portcullis_model::policy::Environment;
use portcullis_model::{AccessTokenVerifier, Clock, Random, SessionSource, SharedLimits, Timestamp};
use portcullis_telemetry::Metrics;

use crate::body::InboundBody;
use crate::client_address::{self, Origination};
use crate::config::GateConfig;
use crate::context::Context;
use crate::cookies::CookieName;
use crate::credential::Classifier;
use crate::csrf_check::pre_session;
use crate::head_fault::HeadFault;
use crate::limits::Limiter;
use crate::permit::Permit;
use crate::phase::{Nobody, Phase};
use crate::phases::Head;
use crate::refusal::Refusal;
use crate::refusals::{RefusalRecord, Refusals, shortened};
use crate::request_id::{RequestIds, TraceContext};
use crate::streams::LiveStreams;

// As a constant, because a name given as text is parsed at every look-up.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Decides on every request.
pub struct Gate {
    pub(crate) config: ArcSwap<GateConfig>,
    pub(crate) classifier: Classifier,
    pub(crate) sessions: Arc<dyn SessionSource>,
    pub(crate) limiter: Limiter,
    pub(crate) ids: RequestIds,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    streams: Arc<LiveStreams>,
    refusals: Refusals,
    /// The first peer that sent `X-Forwarded-For` without being trusted.
    forwarder: OnceLock<IpAddr>,
    random: Random,
}

/// What a gate is made of.
pub struct GateParts {
    /// Verifies access tokens.
    pub tokens: Arc<dyn AccessTokenVerifier>,
    /// Looks sessions up.
    pub sessions: Arc<dyn SessionSource>,
    /// Where replicas count limits together; `None` when each counts for itself.
    pub shared_limits: Option<Arc<dyn SharedLimits>>,
    /// The clock of limits and lifetimes.
    pub clock: Clock,
    /// For CSRF tokens and request ids.
    pub random: Random,
    /// Counts refusals.
    pub metrics: Metrics,
}

/// A request that went through the gate, permitted or not.
pub struct Passage {
    /// What [`Gate::finish`] needs for the answer, whoever gives it.
    pub context: Context,
    /// The permit, or why there is none.
    pub verdict: Result<(Permit, Request<InboundBody>), Refusal>,
}

fn forwarder_warning(peer: IpAddr) -> String {
    format!(
        "{peer} sends X-Forwarded-For and is not trusted, so its clients all count as {peer}: if it is your proxy, add \
         it to server.trusted_proxies"
    )
}

/// A method that no client can send: it is counted as `_OTHER`.
fn not_a_method() -> Method {
    Method::from_bytes(b"MALFORMED").expect("a token")
}

/// A new CSRF token, and the pre-session that goes with it if there was none.
#[derive(Debug)]
pub struct IssuedCsrf {
    /// The token, for the page and for the cookie.
    pub token: String,
    /// The pre-session cookie to set.
    pub new_pre_session: Option<String>,
}

impl Gate {
    /// A gate that decides by `config` until it is swapped.
    pub fn new(parts: GateParts, config: GateConfig) -> Self {
        let GateParts { tokens, sessions, shared_limits, clock, random, metrics } = parts;
        Self {
            config: ArcSwap::from_pointee(config),
            classifier: Classifier::new(tokens, Arc::clone(&sessions)),
            sessions,
            limiter: Limiter::new(clock.clone(), shared_limits),
            streams: LiveStreams::new(),
            refusals: Refusals::default(),
            forwarder: OnceLock::new(),
            ids: RequestIds::new(&random),
            clock,
            random,
            metrics,
        }
    }

    /// Decides by another configuration from the next request on.
    pub fn swap(&self, config: GateConfig) {
        self.config.store(Arc::new(config));
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<GateConfig> {
        self.config.load_full()
    }

    /// The registry of live streams.
    pub fn streams(&self) -> &Arc<LiveStreams> {
        &self.streams
    }

    /// Takes a request through all phases. Awaits nothing when its session is
    /// known here, `_csrf` does not stand in its body and limits are counted here.
    pub async fn pass(&self, peer: SocketAddr, request: Request<Incoming>) -> Passage {
        let (parts, body) = request.into_parts();
        let config = self.config.load_full();
        let mut context = Context::new(self.ids.next(), &parts, config);
        let head = Head {
            peer: peer.ip(),
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            bad: parts.extensions.get::<HeadFault>().copied(),
            needs_host: parts.version >= Version::HTTP_11,
        };
        let mut watch = Nobody { phase: Phase::Identify };
        let judged = self.judge(&mut context, &head, Some(body), None, &mut watch).await;
        if context.flight.is_none() {
            context.flight = Some(context.config.routes.unmatched().begin(&parts.method));
        }
        let judged = match judged {
            Ok(judged) => judged,
            Err(refusal) => {
                self.note_refusal(&refusal, watch.phase, &context, &parts, peer.ip());
                return Passage { context, verdict: Err(refusal) };
            }
        };
        let permit = Permit {
            request_id: context.request_id,
            trace: TraceContext::continue_from(
                parts.headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()),
                context.request_id,
                self.ids.span(),
            ),
            query: judged.query,
            parameters: judged.parameters,
            path: judged.path,
            from: judged.from,
            cookies: judged.cookies,
            credential: judged.credential,
            csrf_session: judged.csrf_session,
            route: judged.route,
            config: Arc::clone(&context.config),
        };
        Passage { verdict: Ok((permit, Request::from_parts(parts, judged.body))), context }
    }

    /// What is known of something that was no request: for an answer to it, which [`finish`](Self::finish) completes
    /// and counts under no route and no method.
    pub fn no_request(&self) -> Context {
        let config = self.config.load_full();
        let flight = config.routes.unmatched().begin(&not_a_method());
        Context::no_request(self.ids.next(), flight, config)
    }

    /// Whether an address is one of the trusted proxies.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let (config, address) = (self.config.load(), address.to_canonical());
        config.trusted_proxies.iter().any(|net| net.contains(&address))
    }

    /// Says once that a peer forwards and is not trusted: behind a balancer that is nearly always a setting forgotten.
    pub(crate) fn notice_forwarder(&self, from: &Origination, headers: &HeaderMap) {
        if from.peer_trusted || self.forwarder.get().is_some() || !client_address::is_forwarded(headers) {
            return;
        }
        if self.forwarder.set(from.peer).is_ok() {
            tracing::warn!("{}", forwarder_warning(from.peer));
        }
    }

    /// What an operator should know of this process's surroundings.
    pub fn warnings(&self) -> Vec<String> {
        let forwarder = self.forwarder.get().filter(|address| !self.trusts(**address));
        forwarder.map(|address| forwarder_warning(*address)).into_iter().collect()
    }

    /// Counts a refusal and remembers it for a while. A preflight is none.
    fn note_refusal(
        &self,
        refusal: &Refusal,
        phase: Phase,
        context: &Context,
        parts: &http::request::Parts,
        peer: IpAddr,
    ) {
        match refusal {
            Refusal::Preflight => return,
            Refusal::RateLimited { limit, .. } => self.metrics.rate_limited(limit),
            _ => {
                if let Some(reason) = refusal.csrf_reason() {
                    self.metrics.csrf_refusal(reason);
                }
            }
        }
        self.refusals.add(RefusalRecord {
            request_id: context.request_id,
            at: self.clock.now(),
            method: parts.method.clone(),
            path: shortened(parts.uri.path()),
            route: context.route().into(),
            client: context.client.unwrap_or_else(|| peer.to_canonical()),
            user: context.user,
            phase,
            refusal: refusal.clone(),
        });
    }

    /// The latest refusals of this process, the newest first.
    pub fn latest_refusals(&self, most: usize) -> Vec<RefusalRecord> {
        self.refusals.latest(most)
    }

    /// Why a request was turned away, while that is remembered.
    pub fn refusal_of(&self, request_id: &str) -> Option<RefusalRecord> {
        self.refusals.find(request_id)
    }

    /// The token for the request's session or pre-session: the one it carries
    /// while that is valid, because tabs share one cookie jar.
    pub fn issue_csrf(&self, permit: &Permit) -> IssuedCsrf {
        let tokens = &permit.config.csrf.tokens;
        let known = permit.csrf_session.as_deref().or_else(|| pre_session(&permit.cookies));
        let Some(identifier) = known else {
            let pre = self.random.hex::<32>();
            return IssuedCsrf { token: tokens.issue(&pre, &self.random), new_pre_session: Some(pre) };
        };
        let carried = permit.cookies.csrf.value().filter(|token| tokens.verify(identifier, token));
        let token = carried.map_or_else(|| tokens.issue(identifier, &self.random), str::to_owned);
        IssuedCsrf { token, new_pre_session: None }
    }

    /// A cookie's name in this environment.
    pub fn cookie_name(&self, name: CookieName) -> &'static str {
        name.on_wire(self.config.load().environment)
    }

    /// `GET /api/versions`.
    pub fn versions_document(&self, now: Timestamp) -> serde_json::Value {
        self.config.load().versions.document(now)
    }

    /// The environment in force.
    pub fn environment(&self) -> Environment {
        self.config.load().environment
    }
}
