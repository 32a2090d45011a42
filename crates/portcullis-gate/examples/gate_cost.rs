//! What the gate costs: a request with a remembered token, a known session and
//! two limits, through `pass` and `finish`, without the HTTP around them. The
//! median, so that a busy machine takes nothing for the gate's that is not.
//!
//! `cargo run --release -p portcullis-gate --example gate_cost [requests]`
#![expect(clippy::print_stdout, reason = "a measurement for people and for bench/")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_gate::{
    Cors, CsrfConfig, CsrfMode, CsrfTokens, Destination, EndpointId, Gate, GateConfig, GateParts, HeadGuard, Limits,
    LimitsConfig, Passage, RouteSpec, RouteTable, Versions,
};
use portcullis_model::policy::{AuthRequirement, Environment, Methods, RoutePolicy};
use portcullis_model::{
    AccessTokens, Clock, Email, Limit, LimitBy, Random, Rate, Role, RolePermissions, SecretString, SessionId,
    SessionSource, SessionState, SessionsUnavailable, TokenFault, UserId, VerifiedToken,
};
use portcullis_telemetry::{Metrics, MetricsOptions};
use tokio::net::{TcpListener, TcpStream};

/// As long as an Ed25519 access token with the contract's claims.
const TOKEN_BYTES: usize = 620;

/// What each request cost.
type Spent = Arc<Mutex<Vec<Duration>>>;

/// Accepts any token, for the one session there is.
struct Known(Arc<SessionState>);

impl AccessTokens for Known {
    fn verify(&self, _token: &str, _now: i64) -> Result<VerifiedToken, TokenFault> {
        let (session_id, user_id) = (self.0.id, self.0.user_id);
        Ok(VerifiedToken { session_id, user_id, ver: 1, not_before: 0, expires: i64::MAX, demo: false, trust: 0 })
    }

    fn trust(&self) -> u64 {
        0
    }
}

impl SessionSource for Known {
    fn cached(&self, _id: SessionId) -> Option<Arc<SessionState>> {
        Some(Arc::clone(&self.0))
    }

    fn load(
        &self,
        _id: SessionId,
        _user_epoch: i64,
    ) -> BoxFuture<'_, Result<Option<Arc<SessionState>>, SessionsUnavailable>> {
        Box::pin(async { Ok(Some(Arc::clone(&self.0))) })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let requests: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let (gate, spent) = (Arc::new(gate()), Spent::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(serve(listener, gate, Arc::clone(&spent)));
    let warm_up = requests / 10 + 1;
    send(address, warm_up).await;
    spent.lock().expect("no panic while it is held").clear();
    send(address, requests).await;
    let mut each = std::mem::take(&mut *spent.lock().expect("no panic while it is held"));
    each.sort_unstable();
    let micros = |share: usize| each.get(each.len() * share / 100).map_or(0.0, |spent| spent.as_secs_f64() * 1e6);
    println!("gate: {:.2} µs a request, {:.2} µs at the 90th percentile, of {}", micros(50), micros(90), each.len());
}

fn gate() -> Gate {
    let (clock, random) = (Clock::system(), Random::system());
    let metrics = Metrics::new(&MetricsOptions::default(), "bench");
    let session = Arc::new(SessionState {
        id: SessionId::new(&clock, &random),
        user_id: UserId::new(&clock, &random),
        role: Role::Developer,
        permissions: Arc::clone(RolePermissions::default().of(Role::Developer)),
        email: Email::parse("ada@example.com").expect("an address"),
        email_verified: true,
        amr: Arc::from(["pwd".to_owned()]),
        authenticated_at: 0,
        session_epoch: 1,
        user_epoch: 1,
        token_epoch: 1,
        expires_at: i64::MAX,
        demo: false,
        api_key: None,
        last_seen: 0.into(),
    });
    let rate = Rate::parse("1000000000/1m").expect("a rate").expect("on");
    let policy = RoutePolicy {
        minimum_role: Some(Role::Developer),
        limits: vec![Limit::new("route", rate, LimitBy::Caller)],
        ..RoutePolicy::asking(AuthRequirement::Required)
    };
    let route = RouteSpec {
        template: "/api/v1/projects/{*rest}".to_owned(),
        methods: Methods::Any,
        policy,
        destination: Destination::BuiltIn(EndpointId(0)),
    };
    let config = GateConfig {
        routes: RouteTable::build(vec![route], &metrics).expect("one route"),
        versions: Versions::new(Vec::new()),
        cors: Cors::new(["https://app.example.com".to_owned()]),
        headers: portcullis_gate::SecurityHeaders::default(),
        csrf: CsrfConfig {
            tokens: CsrfTokens::new(&SecretString::new("a secret of at least thirty-two bytes").into()),
            mode: CsrfMode::Always,
        },
        limits: Limits::new(LimitsConfig { api: Some(Limit::by_address("api", rate)), ..LimitsConfig::default() }),
        body_timeout: Duration::from_secs(30),
        trusted_proxies: Vec::new(),
        environment: Environment::Development,
        public_origin: None,
    };
    let known = || Arc::new(Known(Arc::clone(&session)));
    Gate::new(GateParts { tokens: known(), sessions: known(), shared_limits: None, clock, random, metrics }, config)
}

async fn serve(listener: TcpListener, gate: Arc<Gate>, spent: Spent) {
    while let Ok((stream, peer)) = listener.accept().await {
        let (gate, spent) = (Arc::clone(&gate), Arc::clone(&spent));
        tokio::spawn(async move {
            let (stream, heads) = HeadGuard::new(stream);
            let (gate, spent, heads) = (&gate, &spent, &heads);
            let service = service_fn(|mut request| {
                heads.mark(&mut request);
                async move { Ok::<_, Infallible>(answer(gate, spent, peer, request).await) }
            });
            // The client goes away when it has what it wants.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(gate: &Gate, spent: &Spent, peer: SocketAddr, request: Request<Incoming>) -> Response<Empty<Bytes>> {
    let begun = Instant::now();
    let Passage { context, verdict } = gate.pass(peer, request).await;
    let passed = begun.elapsed();
    assert!(verdict.is_ok(), "the measured request is one that is let through");
    let mut response = Response::new(Empty::new());
    let begun = Instant::now();
    gate.finish(context, &mut response);
    drop(verdict);
    let finished = begun.elapsed();
    spent.lock().expect("no panic while it is held").push(passed + finished);
    response
}

async fn send(address: SocketAddr, requests: usize) {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    let (mut client, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let bearer = format!("Bearer {}", "x".repeat(TOKEN_BYTES));
    for _ in 0..requests {
        let request = Request::get("/api/v1/projects/7?page=2")
            .header("host", "localhost:8000")
            .header("authorization", bearer.as_str())
            .header("accept", "application/json")
            .header("user-agent", "bench")
            .body(Empty::new())
            .expect("a request");
        let answer = client.send_request(request).await.expect("an answer");
        answer.into_body().collect().await.expect("a body");
    }
}
