//! A gateway as `serve` builds it, without SQL: sessions and tokens from memory.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_gate::{
    AccessLog, AllowedOrigins, CsrfConfig, CsrfMode, CsrfTokens, Destination, Gate, GateConfig, GateParts, Limits,
    Propagation, RouteSpec, RouteTable, Verdict, Versions,
};
use portcullis_model::policy::{CorsPolicy, Environment, Forwarding};
use portcullis_model::{
    AccessTokenVerifier, AuthRequirement, BodyLimit, Clock, Methods, Random, Revocation, RevocationListener, Role,
    RoutePolicy, SecretString, SessionState,
};
use portcullis_proxy::{Proxy, ProxyError, ProxyParts, TargetLimits, Upstream, Upstreams};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::{KnownSessions, SessionBuilder, session};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::peer::Peer;

/// The access tokens of two users.
pub(crate) const ADA: &str = "ada-token";
pub(crate) const BOB: &str = "bob-token";

/// The settings of the one route, `/api/v1/things/{*rest}`.
pub(crate) struct Setup {
    pub(crate) targets: Vec<SocketAddr>,
    pub(crate) timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) body_idle_timeout: Option<Duration>,
    pub(crate) stream_idle_timeout: Option<Duration>,
    pub(crate) keepalive: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_body: BodyLimit,
    pub(crate) strip_prefix: Option<Box<str>>,
    pub(crate) forward_authorization: bool,
    pub(crate) method_override: bool,
    pub(crate) trusted_proxies: &'static [&'static str],
    pub(crate) limits: TargetLimits,
    pub(crate) auth: AuthRequirement,
    pub(crate) cors: CorsPolicy,
    pub(crate) allowed_origins: &'static [&'static str],
    /// The role that a route asks for.
    pub(crate) minimum_role: Option<Role>,
    pub(crate) send_timeout: Duration,
    pub(crate) propagation: Propagation,
}

impl Setup {
    pub(crate) fn to(targets: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            targets: targets.into_iter().collect(),
            timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            body_idle_timeout: Some(Duration::from_secs(60)),
            stream_idle_timeout: None,
            keepalive: Duration::from_secs(4),
            max_age: Some(Duration::from_secs(300)),
            max_body: BodyLimit::Unlimited,
            strip_prefix: None,
            forward_authorization: false,
            method_override: false,
            trusted_proxies: &[],
            limits: TargetLimits::default(),
            auth: AuthRequirement::Optional,
            cors: CorsPolicy::default(),
            allowed_origins: &[],
            minimum_role: None,
            send_timeout: Duration::from_secs(60),
            propagation: Propagation::default(),
        }
    }
}

/// A running gateway.
pub(crate) struct Gateway {
    address: SocketAddr,
    inner: Arc<Inner>,
    known: Arc<KnownSessions>,
    by_token: [(&'static str, Arc<SessionState>); 2],
    metrics: Metrics,
}

struct Inner {
    gate: Gate,
    proxy: Proxy,
}

type Body = UnsyncBoxBody<Bytes, ProxyError>;

impl Gateway {
    pub(crate) async fn start(setup: Setup) -> Self {
        let metrics = Metrics::new(&MetricsOptions::default(), "test");
        let sessions = Arc::new(KnownSessions::default());
        let known = Arc::clone(&sessions);
        let by_token = [(ADA, session()), (BOB, session().role(Role::Viewer))]
            .map(|(token, session)| (token, sessions.sign_in(token, session)));
        let parts = GateParts {
            tokens: Arc::clone(&sessions) as Arc<dyn AccessTokenVerifier>,
            sessions,
            shared_limits: None,
            clock: Clock::system(),
            random: Random::system(),
            metrics: metrics.clone(),
        };
        let upstream = Upstream {
            name: "things".into(),
            targets: setup.targets.iter().map(|at| format!("http://{at}").parse().expect("a URL")).collect(),
            connect_timeout: Duration::from_secs(5),
            limits: setup.limits,
            keepalive: setup.keepalive,
            max_age: setup.max_age,
        };
        let send_timeout = setup.send_timeout;
        let gate = Gate::new(parts, config(setup, &metrics));
        let streams = Arc::clone(gate.streams());
        let proxy =
            Proxy::new(ProxyParts { streams, send_timeout, upstreams: Upstreams::new(vec![upstream], &metrics) });
        let inner = Arc::new(Inner { gate, proxy });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        tokio::spawn(serve(listener, Arc::clone(&inner)));
        let judged = Arc::clone(&inner);
        tokio::spawn(async move { judged.gate.judge_streams(CancellationToken::new()).await });
        Self { address, inner, known, by_token, metrics }
    }

    pub(crate) async fn connect(&self) -> Peer {
        Peer::connect(self.address).await
    }

    pub(crate) fn status(&self) -> &'static str {
        self.inner.proxy.status().first().expect("there is one upstream").1
    }

    pub(crate) fn open_streams(&self) -> usize {
        self.inner.gate.streams().count()
    }

    pub(crate) fn session(&self, token: &str) -> &SessionState {
        let known = self.by_token.iter().find(|(known, _)| *known == token);
        &known.expect("the token is one of these").1
    }

    /// Ends the session of a token, as the revocation log tells it.
    pub(crate) fn end_session(&self, token: &str) {
        let session = self.session(token);
        self.known.end(session.id);
        let end = Revocation { user_id: session.user_id, session_id: Some(session.id), epoch: 2, ends: true };
        self.inner.gate.streams().revoked(&end);
    }

    /// The number of times that a session was looked up.
    pub(crate) fn look_ups(&self) -> u64 {
        self.known.look_ups()
    }

    /// Gives the user of a token another role, as the revocation log tells it.
    pub(crate) fn change_role(&self, token: &str, role: Role) {
        self.change(token, |session| session.role(role));
    }

    /// Has the session of a token expire a second from now.
    pub(crate) fn expire_in_a_second(&self, token: &str) {
        self.change(token, |session| session.expires_at(Clock::system().unix_seconds() + 1));
    }

    fn change(&self, token: &str, change: impl FnOnce(SessionBuilder) -> SessionBuilder) {
        let old = self.session(token);
        let changed = session().id(old.id).user(old.user_id).epochs(old.session_epoch, old.user_epoch + 1);
        self.known.put(change(changed).build());
        let epoch = old.user_epoch + 1;
        let change = Revocation { user_id: old.user_id, session_id: None, epoch, ends: false };
        self.inner.gate.streams().revoked(&change);
    }

    /// Begins to stop, as the process does at SIGTERM.
    pub(crate) fn stop(&self) {
        self.inner.gate.streams().stopping().cancel();
    }

    /// The value of a metric of the upstream, as the page for Prometheus shows it.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> u64 {
        let line = format!("{name}{{upstream=\"things\"{labels}}} ");
        let page = self.metrics.render(false);
        page.lines().find_map(|found| found.strip_prefix(&line)).expect("the metric").parse().expect("a number")
    }

    /// The number of requests with this outcome.
    pub(crate) fn outcomes(&self, outcome: &'static str) -> u64 {
        self.metrics.upstream_requests("things", outcome).get()
    }

    /// The number of responses that the upstream broke off within their body.
    pub(crate) fn body_failures(&self) -> u64 {
        self.metrics.upstream_body_failures("things").get()
    }
}

fn config(setup: Setup, metrics: &Metrics) -> GateConfig {
    let forwarding = Forwarding {
        upstream: "things".into(),
        strip_prefix: setup.strip_prefix,
        forward_authorization: setup.forward_authorization,
        method_override: setup.method_override,
    };
    let policy = RoutePolicy {
        max_body: setup.max_body,
        timeout: setup.timeout,
        body_idle_timeout: setup.body_idle_timeout,
        stream_idle_timeout: setup.stream_idle_timeout,
        minimum_role: setup.minimum_role,
        cors: setup.cors,
        ..RoutePolicy::requiring(setup.auth)
    };
    let route = RouteSpec {
        template: "/api/v1/things/{*rest}".to_owned(),
        methods: Methods::Standard,
        policy,
        destination: Destination::Upstream(Arc::new(forwarding)),
    };
    let versions = Versions::new(Vec::new());
    GateConfig {
        routes: RouteTable::build(vec![route], &versions, metrics).expect("a single route has no conflict"),
        versions,
        allowed_origins: AllowedOrigins::new(setup.allowed_origins.iter().map(|&origin| origin.to_owned())),
        security_headers: portcullis_gate::SecurityHeaders::default(),
        csrf: CsrfConfig { tokens: CsrfTokens::new(&SecretString::new("c".repeat(32)).into()), mode: CsrfMode::Cookie },
        limits: Limits::default(),
        body_timeout: setup.body_timeout,
        trusted_proxies: setup.trusted_proxies.iter().map(|net| net.parse().expect("a net")).collect(),
        environment: Environment::Development,
        trust_incoming_traces: false,
        propagation: setup.propagation,
        access_log: AccessLog::Off,
        public_origin: None,
    }
}

async fn serve(listener: TcpListener, inner: Arc<Inner>) {
    while let Ok((stream, peer)) = listener.accept().await {
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let inner = Arc::clone(&inner);
                async move { Ok::<_, Infallible>(inner.respond(peer, request).await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            // A test may close its connection early, which hyper reports as an error.
            let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

impl Inner {
    async fn respond(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Body> {
        let peer = peer.into();
        let mut context = self.gate.begin(&peer, &request);
        let (mut parts, body) = request.into_parts();
        let mut response = match self.gate.pass(&mut context, &peer, &parts, body).await {
            Verdict::Refused(refusal) => fault(403, format!("{refusal:?}")),
            Verdict::Preflight => fault(204, String::new()),
            Verdict::Permitted((permit, body)) => match self.proxy.forward(&permit, &mut parts, body).await {
                Ok(response) => response.map(BodyExt::boxed_unsync),
                Err(error) => fault(502, format!("{}: {error:?}", error.proxy_status())),
            },
        };
        self.gate.finish(&mut context, &mut response);
        response
    }
}

fn fault(status: u16, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).body(body).expect("the status is valid")
}
