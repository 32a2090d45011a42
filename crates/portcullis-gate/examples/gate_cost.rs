//! The cost of the gate: a request with a remembered token, a cached session and two limits, through `pass` and
//! `finish`, without the HTTP around them. It prints the median, so that a busy machine distorts it little.
//!
//! `cargo run --release -p portcullis-gate --example gate_cost [requests [case [routes]]]`; the cases are those of
//! [`Case`], each of which adds the work of one phase to the one before. `bench/phases.py` counts instructions by them.
//! The case `swap` measures how long it takes to build a table of that many routes and to put it in force.
#![expect(clippy::print_stdout, reason = "a measurement for developers and for bench/")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_gate::{
    AccessLog, AllowedOrigins, CsrfConfig, CsrfMode, CsrfTokens, Destination, EndpointId, Gate, GateConfig, GateParts,
    Limits, LimitsConfig, Propagation, RouteSpec, RouteTable, Verdict, Versions,
};
use portcullis_model::policy::{AuthRequirement, Environment, Methods, RoutePolicy};
use portcullis_model::{AccessTokenVerifier, Clock, Limit, LimitBy, Random, Rate, Role, SecretString};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::{KnownSessions, session};
use tokio::net::{TcpListener, TcpStream};

/// A text as long as an Ed25519 access token with the contract's claims.
fn token() -> String {
    "x".repeat(620)
}

/// The time that each request took.
type Spent = Arc<Mutex<Vec<Duration>>>;

/// The work that a request causes in the gate.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Case {
    /// No gate: only the HTTP around it.
    Http,
    /// A route that requires nothing.
    Open,
    /// A limit by address.
    AddressLimit,
    /// A bearer token, its session, a role.
    Token,
    /// A limit by caller. This is the default case.
    CallerLimit,
    /// An origin that is allowed.
    Cors,
    /// A token pair to check.
    Csrf,
}

const CASES: [(&str, Case); 7] = [
    ("http", Case::Http),
    ("open", Case::Open),
    ("address-limit", Case::AddressLimit),
    ("token", Case::Token),
    ("caller-limit", Case::CallerLimit),
    ("cors", Case::Cors),
    ("csrf", Case::Csrf),
];

const SECRET: &str = "a secret of at least thirty-two bytes";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let requests: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let named = arguments.next();
    let routes: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1);
    if named.as_deref() == Some("swap") {
        return swap(requests, routes);
    }
    let case = named.and_then(|name| CASES.iter().find(|(known, _)| *known == name)).map_or(Case::CallerLimit, |c| c.1);
    let (gate, spent) = (Arc::new(gate(case, routes)), Spent::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(serve(listener, gate, Arc::clone(&spent), case));
    let warm_up = requests / 10 + 1;
    send(address, warm_up, case).await;
    spent.lock().expect("no panic while it is held").clear();
    send(address, requests, case).await;
    let mut each = std::mem::take(&mut *spent.lock().expect("no panic while it is held"));
    each.sort_unstable();
    let micros = |share: usize| each.get(each.len() * share / 100).map_or(0.0, |spent| spent.as_secs_f64() * 1e6);
    println!("gate: {:.2} µs a request, {:.2} µs at the 90th percentile, of {}", micros(50), micros(90), each.len());
}

/// Builds a table of routes and swaps it in, several times.
fn swap(times: usize, routes: usize) {
    let gate = gate(Case::CallerLimit, routes);
    let metrics = Metrics::new(&MetricsOptions::default(), "bench");
    let (mut built, mut swapped) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let begun = Instant::now();
        let config = config(Case::CallerLimit, routes, &metrics);
        built.push(begun.elapsed());
        let begun = Instant::now();
        gate.swap(config);
        swapped.push(begun.elapsed());
    }
    built.sort_unstable();
    swapped.sort_unstable();
    let millis = |all: &[Duration]| all.get(all.len() / 2).map_or(0.0, |spent| spent.as_secs_f64() * 1e3);
    println!(
        "swap: {:.3} ms to build {routes} routes, {:.4} ms to put them in force",
        millis(&built),
        millis(&swapped)
    );
}

fn gate(case: Case, routes: usize) -> Gate {
    let (clock, random) = (Clock::system(), Random::system());
    let metrics = Metrics::new(&MetricsOptions::default(), "bench");
    let sessions = Arc::new(KnownSessions::default());
    sessions.sign_in(&token(), session().expires_at(i64::MAX));
    let config = config(case, routes, &metrics);
    let tokens = Arc::clone(&sessions) as Arc<dyn AccessTokenVerifier>;
    Gate::new(GateParts { tokens, sessions, shared_limits: None, clock, random, metrics }, config)
}

/// Makes a configuration with so many routes, one of which is requested.
fn config(case: Case, routes: usize, metrics: &Metrics) -> GateConfig {
    let rate = Rate::parse("1000000000/1m").expect("a rate").expect("on");
    let limits = if case >= Case::CallerLimit { vec![Limit::new("route", rate, LimitBy::Caller)] } else { Vec::new() };
    let policy = if case >= Case::Token {
        RoutePolicy { minimum_role: Some(Role::Developer), limits, ..RoutePolicy::requiring(AuthRequirement::Required) }
    } else {
        RoutePolicy::requiring(AuthRequirement::None)
    };
    let route = |template: String| RouteSpec {
        template,
        methods: Methods::Standard,
        policy: policy.clone(),
        destination: Destination::BuiltIn(EndpointId(0)),
    };
    let mut table = vec![route("/api/v1/projects/{*rest}".to_owned())];
    table.extend((1..routes).map(|n| route(format!("/api/v1/service{n}/items/{{id}}"))));
    let origins = (case >= Case::Cors).then(|| ORIGIN.to_owned());
    let api = (case >= Case::AddressLimit).then(|| Limit::by_address("api", rate));
    let versions = Versions::new(Vec::new());
    GateConfig {
        routes: RouteTable::build(table, &versions, metrics).expect("no collision"),
        versions,
        allowed_origins: AllowedOrigins::new(origins),
        security_headers: portcullis_gate::SecurityHeaders::default(),
        csrf: CsrfConfig { tokens: CsrfTokens::new(&SecretString::new(SECRET).into()), mode: CsrfMode::Always },
        limits: Limits::new(LimitsConfig { api, ..LimitsConfig::default() }),
        body_timeout: Duration::from_secs(30),
        trusted_proxies: Vec::new(),
        environment: Environment::Development,
        trust_incoming_traces: false,
        propagation: Propagation::default(),
        access_log: AccessLog::Off,
        public_origin: None,
    }
}

const ORIGIN: &str = "https://app.example.com";

async fn serve(listener: TcpListener, gate: Arc<Gate>, spent: Spent, case: Case) {
    while let Ok((stream, peer)) = listener.accept().await {
        let (gate, spent) = (Arc::clone(&gate), Arc::clone(&spent));
        tokio::spawn(async move {
            let (gate, spent) = (&gate, &spent);
            let service =
                service_fn(
                    |request| async move { Ok::<_, Infallible>(respond(gate, spent, peer, request, case).await) },
                );
            // The client closes the connection when it has sent all requests.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    gate: &Gate,
    spent: &Spent,
    peer: SocketAddr,
    request: Request<Incoming>,
    case: Case,
) -> Response<Empty<Bytes>> {
    if case == Case::Http {
        return Response::new(Empty::new());
    }
    let begun = Instant::now();
    let peer = peer.into();
    let mut context = gate.begin(&peer, &request);
    let (parts, body) = request.into_parts();
    let verdict = gate.pass(&mut context, &peer, &parts, body).await;
    let passed = begun.elapsed();
    assert!(matches!(verdict, Verdict::Permitted(_)), "the measured request is one that is permitted");
    let mut response = Response::new(Empty::new());
    let begun = Instant::now();
    gate.finish(&mut context, &mut response);
    drop(verdict);
    let finished = begun.elapsed();
    spent.lock().expect("no panic while it is held").push(passed + finished);
    response
}

async fn send(address: SocketAddr, requests: usize, case: Case) {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    let (mut client, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let bearer = format!("Bearer {}", token());
    let random = Random::system();
    let pre = random.hex::<32>();
    let csrf = CsrfTokens::new(&SecretString::new(SECRET).into()).issue(&pre, &random);
    let cookies = format!("portcullis-csrf={csrf}; portcullis-pre={pre}");
    for _ in 0..requests {
        let mut request = Request::builder()
            .method(if case >= Case::Csrf { "POST" } else { "GET" })
            .uri("/api/v1/projects/7?page=2")
            .header("host", "localhost:8000")
            .header("accept", "application/json")
            .header("user-agent", "bench");
        if case >= Case::Token {
            request = request.header("authorization", bearer.as_str());
        }
        if case >= Case::Cors {
            request = request.header("origin", ORIGIN);
        }
        if case >= Case::Csrf {
            request = request.header("cookie", &cookies).header("x-csrf-token", &csrf);
        }
        let request = request.body(Empty::new()).expect("a request");
        let response = client.send_request(request).await.expect("a response");
        response.into_body().collect().await.expect("a body");
    }
}
