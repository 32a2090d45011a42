//! A gate behind a real HTTP/1.1 server on loopback. The server answers with
//! what the gate decided, so that a test reads the verdict off the wire.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_gate::{
    Cors, CsrfConfig, CsrfMode, CsrfTokens, Destination, EndpointId, Gate, GateConfig, GateParts, HeadFault, Limits,
    LimitsConfig, Origin, Passage, Permit, RouteSpec, RouteTable, Version, Versions,
};
use portcullis_model::policy::{AuthRequirement, CsrfPolicy, Environment, Methods, RoutePolicy};
use portcullis_model::{Clock, Limit, LimitBy, Random, Rate, SecretString, SharedLimits};
use portcullis_telemetry::{Metrics, MetricsOptions};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Call;
use crate::people::{Sessions, Tokens};

pub(crate) const CSRF_SECRET: &str = "an example secret of 32 bytes or more";

/// What a test's gate decides by. Start from the default and change what the test is about.
pub(crate) struct Setup {
    pub(crate) routes: Vec<RouteSpec>,
    pub(crate) versions: Vec<Version>,
    pub(crate) origins: Vec<&'static str>,
    pub(crate) csrf_mode: CsrfMode,
    pub(crate) auth_limit: Option<Rate>,
    pub(crate) api_limit: Option<Rate>,
    pub(crate) reads_limit: Option<Limit>,
    pub(crate) writes_limit: Option<Limit>,
    pub(crate) shared: Option<Arc<dyn SharedLimits>>,
    pub(crate) trusted_proxies: Vec<&'static str>,
    pub(crate) environment: Environment,
    pub(crate) public_url: Option<&'static str>,
    /// Marks every request, as the edge does.
    pub(crate) head_fault: Option<HeadFault>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            routes: vec![route("/api/v1/things/{*rest}", |_| {}), csrf_endpoint()],
            versions: Vec::new(),
            origins: Vec::new(),
            csrf_mode: CsrfMode::Always,
            auth_limit: None,
            api_limit: None,
            reads_limit: None,
            writes_limit: None,
            shared: None,
            trusted_proxies: Vec::new(),
            environment: Environment::Development,
            public_url: None,
            head_fault: None,
        }
    }
}

/// A route for every method that asks nothing of a request but what `change` sets.
pub(crate) fn route(template: &str, change: impl FnOnce(&mut RoutePolicy)) -> RouteSpec {
    let mut policy = RoutePolicy { csrf: CsrfPolicy::Exempt, ..RoutePolicy::requiring(AuthRequirement::None) };
    change(&mut policy);
    let destination = Destination::BuiltIn(EndpointId(0));
    RouteSpec { template: template.to_owned(), methods: Methods::Any, policy, destination }
}

/// The endpoint that hands out CSRF tokens, as the built-in API has it.
pub(crate) fn csrf_endpoint() -> RouteSpec {
    RouteSpec {
        methods: Methods::Only(vec!["GET".to_owned()]),
        destination: Destination::BuiltIn(CSRF_TOKEN),
        ..route("/api/v1/csrf-token", |_| {})
    }
}

const CSRF_TOKEN: EndpointId = EndpointId(1);

pub(crate) fn rate(text: &str) -> Option<Rate> {
    Rate::parse(text).expect("a rate")
}

/// A route's own limit by caller, or none.
pub(crate) fn own(text: &str) -> Vec<Limit> {
    rate(text).map(|rate| Limit::new("route", rate, LimitBy::Caller)).into_iter().collect()
}

pub(crate) struct Bed {
    pub(crate) gate: Arc<Gate>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Bed {
    pub(crate) async fn start(setup: Setup) -> Self {
        let clock = Clock::adjustable();
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        let (tokens, sessions) = (Arc::new(Tokens::default()), Arc::new(Sessions::default()));
        let parts = GateParts {
            tokens: tokens.clone(),
            sessions: sessions.clone(),
            shared_limits: setup.shared.clone(),
            clock: clock.clone(),
            random: Random::system(),
            metrics: metrics.clone(),
        };
        let head_fault = setup.head_fault;
        let gate = Arc::new(Gate::new(parts, config(setup, &metrics)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(serve(listener, Arc::clone(&gate), head_fault));
        Self { gate, tokens, sessions, clock, metrics, address, server }
    }

    /// Decides by another setup from the next request on.
    pub(crate) fn swap(&self, setup: Setup) {
        self.gate.swap(config(setup, &self.metrics));
    }

    pub(crate) fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    pub(crate) fn post(&self, target: &str) -> Call {
        self.call("POST", target)
    }

    pub(crate) fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.address, method, target)
    }

    /// `http://host:port`: in development without PUBLIC_URL, our own origin.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn config(setup: Setup, metrics: &Metrics) -> GateConfig {
    GateConfig {
        routes: RouteTable::build(setup.routes, metrics).expect("no collision"),
        versions: Versions::new(setup.versions),
        cors: Cors::new(setup.origins.into_iter().map(str::to_owned)),
        headers: portcullis_gate::SecurityHeaders::default(),
        csrf: CsrfConfig { tokens: CsrfTokens::new(&SecretString::new(CSRF_SECRET).into()), mode: setup.csrf_mode },
        limits: Limits::new(LimitsConfig {
            auth: setup.auth_limit.map(|rate| Limit::by_address("auth", rate)),
            api: setup.api_limit.map(|rate| Limit::by_address("api", rate)),
            reads: setup.reads_limit,
            writes: setup.writes_limit,
        }),
        body_timeout: Duration::from_secs(30),
        trusted_proxies: setup.trusted_proxies.into_iter().map(|net| net.parse().expect("a net")).collect(),
        environment: setup.environment,
        public_origin: setup
            .public_url
            .map(|url| Origin::of(&url::Url::parse(url).expect("a URL")).expect("an origin")),
    }
}

async fn serve(listener: TcpListener, gate: Arc<Gate>, head_fault: Option<HeadFault>) {
    while let Ok((stream, peer)) = listener.accept().await {
        tokio::spawn(connection(stream, peer, Arc::clone(&gate), head_fault));
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, gate: Arc<Gate>, head_fault: Option<HeadFault>) {
    let gate = &gate;
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(fault) = head_fault {
            request.extensions_mut().insert(fault);
        }
        async move { Ok::<_, Infallible>(answer(gate, peer, request).await) }
    });
    // A malformed request ends the connection with an error: the client sees its 400.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(gate: &Gate, peer: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let mut polls = 0u64;
    let mut passing = pin!(gate.pass(peer, request));
    let Passage { context, verdict } = poll_fn(|cx| {
        polls += 1;
        passing.as_mut().poll(cx)
    })
    .await;
    let (status, text) = match verdict {
        Err(refusal) => (400, format!("refusal: {refusal:?}")),
        Ok((permit, request)) => (200, describe(gate, &permit, request).await),
    };
    let text = format!(
        "{text}\nclient-request-id: {:?}\nlabel: {}\nprefers-problem: {}",
        context.client_request_id(),
        context.route(),
        context.prefers_problem()
    );
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("x-polls", HeaderValue::from(polls));
    gate.finish(context, &mut response);
    response
}

async fn describe(gate: &Gate, permit: &Permit, request: Request<portcullis_gate::InboundBody>) -> String {
    if matches!(permit.destination(), Destination::BuiltIn(id) if *id == CSRF_TOKEN) {
        let issued = gate.issue_csrf(permit);
        return format!("token: {}\npre: {}", issued.token, issued.new_pre_session.unwrap_or_default());
    }
    let origin_allowed = permit.origin_allowed(request.headers());
    let body = match request.into_body().collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => format!("{error:?}"),
    };
    let principal = permit
        .principal()
        .map_or_else(|| "nobody".to_owned(), |principal| format!("{} {:?}", principal.session.id, principal.via));
    format!(
        "route: {}\npath: {}\nquery: {}\nprincipal: {principal}\nclient: {}\nscheme: {}\ntraceparent: {}\n\
         origin-allowed: {origin_allowed}\nbody: {body}",
        permit.route().template,
        permit.path(),
        permit.query().unwrap_or("-"),
        permit.client_ip(),
        permit.origination().scheme(),
        String::from_utf8_lossy(&permit.trace().traceparent()),
    )
}
