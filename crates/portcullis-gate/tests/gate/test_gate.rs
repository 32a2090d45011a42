//! A gate behind a real HTTP/1.1 server on loopback. The server's responses describe what the gate decided, and a test
//! reads the verdict from them. Routes and configurations for the tests are built here.

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
    AccessLog, AllowedOrigins, CsrfConfig, CsrfMode, CsrfTokens, Destination, EndpointId, Gate, GateConfig, GateParts,
    HeadFault, Limits, LimitsConfig, Origin, Permit, Propagation, RouteSpec, RouteTable, StreamGuard, Verdict, Version,
    Versions,
};
use portcullis_model::policy::{AuthRequirement, CsrfPolicy, Environment, Forwarding, Methods, RoutePolicy};
use portcullis_model::{Clock, Limit, LimitBy, Random, Rate, SecretString, SharedLimits};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::KnownSessions;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};

use crate::client::Call;

pub(crate) const CSRF_SECRET: &str = "an example secret of 32 bytes or more";

/// The configuration of a test's gate. A test starts from the default and changes what it is about.
pub(crate) struct TestConfig {
    pub(crate) routes: Vec<RouteSpec>,
    pub(crate) versions: Vec<Version>,
    pub(crate) default_version: &'static str,
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
    pub(crate) body_timeout: Duration,
    pub(crate) trust_incoming_traces: bool,
    /// The fault that every request is marked with, as the edge marks one.
    pub(crate) head_fault: Option<HeadFault>,
}

impl Default for TestConfig {
    fn default() -> Self {
        Self {
            routes: vec![route("/api/v1/things/{*rest}", |_| {}), csrf_endpoint()],
            versions: Vec::new(),
            default_version: "v1",
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
            body_timeout: Duration::from_secs(30),
            trust_incoming_traces: false,
            head_fault: None,
        }
    }
}

/// A route for every method that requires nothing of a request, except what `change` sets.
pub(crate) fn route(template: &str, change: impl FnOnce(&mut RoutePolicy)) -> RouteSpec {
    let mut policy = RoutePolicy { csrf: CsrfPolicy::Exempt, ..RoutePolicy::requiring(AuthRequirement::None) };
    change(&mut policy);
    let destination = Destination::BuiltIn(EndpointId(0));
    RouteSpec { template: template.to_owned(), methods: Methods::Standard, policy, destination }
}

/// A route that requires a valid credential.
pub(crate) fn private_route(template: &str) -> RouteSpec {
    route(template, |policy| policy.auth = AuthRequirement::Required)
}

/// A route for some methods only.
pub(crate) fn route_for(methods: &[&str], template: &str, change: impl FnOnce(&mut RoutePolicy)) -> RouteSpec {
    let methods = methods.iter().map(|&name| name.to_owned()).collect();
    RouteSpec { methods: Methods::Only(methods), ..route(template, change) }
}

/// A route to an upstream that requires nothing of a request. Built-in endpoints are the same under every version.
pub(crate) fn proxied_route(template: &str) -> RouteSpec {
    let forwarding =
        Forwarding { upstream: "p".into(), strip_prefix: None, forward_authorization: false, method_override: false };
    RouteSpec { destination: Destination::Upstream(forwarding.into()), ..route(template, |_| {}) }
}

/// The endpoint that issues CSRF tokens, as the built-in API has it.
pub(crate) fn csrf_endpoint() -> RouteSpec {
    let destination = Destination::BuiltIn(CSRF_TOKEN);
    RouteSpec { destination, ..route_for(&["GET"], "/api/v1/csrf-token", |_| {}) }
}

const CSRF_TOKEN: EndpointId = EndpointId(1);

pub(crate) fn rate(text: &str) -> Option<Rate> {
    Rate::parse(text).expect("a rate")
}

/// A route's own limit by caller; `off` gives none.
pub(crate) fn by_caller(text: &str) -> Vec<Limit> {
    rate(text).map(|rate| Limit::new("route", rate, LimitBy::Caller)).into_iter().collect()
}

pub(crate) struct TestGate {
    pub(crate) inner: Arc<Gate>,
    pub(crate) sessions: Arc<KnownSessions>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) address: SocketAddr,
    opened: Mutex<mpsc::UnboundedReceiver<StreamGuard>>,
    server: tokio::task::JoinHandle<()>,
}

impl TestGate {
    pub(crate) async fn start(config: TestConfig) -> Self {
        let clock = Clock::adjustable();
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        let sessions = Arc::new(KnownSessions::default());
        let parts = GateParts {
            tokens: sessions.clone(),
            sessions: sessions.clone(),
            shared_limits: config.shared.clone(),
            clock: clock.clone(),
            random: Random::system(),
            metrics: metrics.clone(),
        };
        let head_fault = config.head_fault;
        let gate = Arc::new(Gate::new(parts, gate_config(config, &metrics)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (opening, opened) = mpsc::unbounded_channel();
        let server = tokio::spawn(serve(listener, Server { gate: Arc::clone(&gate), head_fault, opening }));
        Self { inner: gate, sessions, clock, metrics, address, opened: opened.into(), server }
    }

    /// Decides by another configuration from the next request on.
    pub(crate) fn swap(&self, config: TestConfig) {
        self.inner.swap(gate_config(config, &self.metrics));
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

    /// Opens a stream with a request to a proxied route.
    pub(crate) async fn open(&self, call: Call) -> StreamGuard {
        assert_eq!(call.verdict().await, "permit");
        self.opened.lock().await.recv().await.expect("the route is a proxied one")
    }

    /// `http://host:port`: in development without PUBLIC_URL, our own origin.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl TestGate {
    /// Starts a gate with these routes and nothing else that differs from the default.
    pub(crate) async fn with_routes(routes: impl Into<Vec<RouteSpec>>) -> Self {
        Self::start(TestConfig { routes: routes.into(), ..TestConfig::default() }).await
    }

    /// Returns the page of metrics.
    pub(crate) fn metrics_page(&self) -> String {
        self.metrics.render(false)
    }

    /// Asserts that a sample is on the page of metrics.
    pub(crate) fn assert_metric(&self, sample: &str) {
        let page = self.metrics_page();
        assert!(page.lines().any(|line| line == sample), "{sample} is not in\n{page}");
    }
}

impl Drop for TestGate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn gate_config(config: TestConfig, metrics: &Metrics) -> GateConfig {
    let versions = Versions::new(config.versions).with_default(config.default_version);
    GateConfig {
        routes: RouteTable::build(config.routes, &versions, metrics).expect("no collision"),
        versions,
        allowed_origins: AllowedOrigins::new(config.origins.into_iter().map(str::to_owned)),
        security_headers: portcullis_gate::SecurityHeaders::default(),
        csrf: CsrfConfig { tokens: CsrfTokens::new(&SecretString::new(CSRF_SECRET).into()), mode: config.csrf_mode },
        limits: Limits::new(LimitsConfig {
            auth: config.auth_limit.map(|rate| Limit::by_address("auth", rate)),
            api: config.api_limit.map(|rate| Limit::by_address("api", rate)),
            reads: config.reads_limit,
            writes: config.writes_limit,
        }),
        body_timeout: config.body_timeout,
        trusted_proxies: config.trusted_proxies.into_iter().map(|net| net.parse().expect("a net")).collect(),
        environment: config.environment,
        trust_incoming_traces: config.trust_incoming_traces,
        propagation: Propagation::default(),
        access_log: AccessLog::All,
        public_origin: config
            .public_url
            .map(|url| Origin::of(&url::Url::parse(url).expect("a URL")).expect("an origin")),
    }
}

#[derive(Clone)]
struct Server {
    gate: Arc<Gate>,
    head_fault: Option<HeadFault>,
    /// Takes the stream that a request to a proxied route opens.
    opening: mpsc::UnboundedSender<StreamGuard>,
}

async fn serve(listener: TcpListener, server: Server) {
    while let Ok((stream, peer)) = listener.accept().await {
        tokio::spawn(connection(stream, peer, server.clone()));
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, server: Server) {
    let server = &server;
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(fault) = server.head_fault {
            request.extensions_mut().insert(fault);
        }
        async move { Ok::<_, Infallible>(respond(server, peer, request).await) }
    });
    // A malformed request ends the connection with an error, and the client gets its 400.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(server: &Server, peer: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let gate = &*server.gate;
    let mut polls = 0u64;
    let peer = peer.into();
    let mut context = gate.begin(&peer, &request);
    let scope = context.scope();
    let (parts, body) = request.into_parts();
    let verdict = {
        let mut passing = pin!(gate.pass(&mut context, &peer, &parts, body));
        poll_fn(|cx| {
            polls += 1;
            passing.as_mut().poll(cx)
        })
        .await
    };
    let (status, text) = match verdict {
        Verdict::Refused(refusal) => (400, format!("refusal: {refusal:?}")),
        Verdict::Preflight => (204, String::new()),
        Verdict::Permitted((permit, body)) => {
            if let Destination::Upstream(_) = permit.destination() {
                // Without a test that reads it, the stream stays open with its gate.
                let _ = server.opening.send(gate.streams().register(&permit));
            }
            (200, describe(gate, &permit, Request::from_parts(parts, body)).await)
        }
    };
    let text = format!(
        "{text}\nclient-request-id: {:?}\nlabel: {}\nprefers-problem: {}",
        scope.client_request_id(),
        context.route(),
        context.prefers_problem()
    );
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("x-polls", HeaderValue::from(polls));
    gate.finish(&mut context, &mut response);
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
        .map_or_else(|| "anonymous".to_owned(), |principal| format!("{} {:?}", principal.session.id, principal.kind));
    format!(
        "request: {}\nid: {}\npresented: {}\nsession-cookie: {}\nrefresh-cookie: {}\nroute: {}\npath: {}\nquery: {}\nprincipal: {principal}\nclient: {}\nscheme: {}\ntraceparent: {}\n\
         origin-allowed: {origin_allowed}\nbody: {body}",
        permit.request_id(),
        permit.parameter("id").unwrap_or("-"),
        permit.presented_credential(),
        permit.has_session_cookie(),
        permit.refresh_cookie().unwrap_or("-"),
        permit.route().template,
        permit.path(),
        permit.query().unwrap_or("-"),
        permit.client_ip(),
        permit.source().scheme(),
        String::from_utf8_lossy(&permit.trace().traceparent()),
    )
}
