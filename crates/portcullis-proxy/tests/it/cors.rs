//! CORS on a proxied route: one side answers, never both (docs/contract.md, "CORS").

use portcullis_model::AuthRequirement;
use portcullis_model::policy::CorsPolicy;

use crate::gateway::{ADA, Gateway, Setup};
use crate::peer::{Peer, Upstream};

const APP: &str = "https://app.example.com";

/// An upstream that answers CORS in its own way, as frameworks do by default.
const OPINIONATED: &str = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
     Access-Control-Allow-Methods: TRACE\r\nAccess-Control-Max-Age: 99\r\nAccess-Control-Expose-Headers: X-Total, x-request-id\r\n\
     Access-Control-Expose-Headers: *\r\nVary: Accept-Encoding, Origin\r\nContent-Length: 0\r\n\r\n";

async fn setup(change: impl FnOnce(&mut Setup)) -> (Gateway, Upstream) {
    let upstream = Upstream::listen().await;
    let mut setup = Setup::to([upstream.address()]);
    setup.allowed_origins = &[APP];
    change(&mut setup);
    (Gateway::start(setup).await, upstream)
}

/// Sends a request that the upstream answers with `OPINIONATED`. Returns the upstream's request head and the response's.
async fn exchange(gateway: &Gateway, upstream: &Upstream, request: &str) -> (String, String) {
    let mut client = gateway.connect().await;
    client.write(request).await;
    let mut service = upstream.accept().await;
    let seen = service.head().await;
    service.write(OPINIONATED).await;
    (seen, client.head().await)
}

/// Sends a request that the gateway answers itself.
async fn answered(gateway: &Gateway, request: &str) -> String {
    let mut client: Peer = gateway.connect().await;
    client.write(request).await;
    client.head().await
}

fn get(origin: &str) -> String {
    format!("GET /api/v1/things/1 HTTP/1.1\r\nHost: gate\r\nOrigin: {origin}\r\n\r\n")
}

fn preflight(method: &str) -> String {
    format!(
        "OPTIONS /api/v1/things/1 HTTP/1.1\r\nHost: gate\r\nOrigin: {APP}\r\n\
         Access-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: x-tenant\r\n\r\n"
    )
}

/// The CORS headers and `Vary` of a head in lower case, sorted.
fn cors(head: &str) -> Vec<&str> {
    let mut lines: Vec<&str> =
        head.lines().filter(|line| line.starts_with("access-control-") || line.starts_with("vary")).collect();
    lines.sort_unstable();
    lines
}

const EXPOSED: &str = "x-request-id, x-api-version, ratelimit, ratelimit-policy, retry-after, deprecation, sunset";

#[tokio::test]
async fn the_gateways_cors_policy_is_the_only_one() {
    let (gateway, upstream) = setup(|_| ()).await;
    let (_, response) = exchange(&gateway, &upstream, &get(APP)).await;
    let expected = [
        "access-control-allow-credentials: true".to_owned(),
        format!("access-control-allow-origin: {APP}"),
        format!("access-control-expose-headers: {EXPOSED}, x-total"),
        "vary: accept-encoding, origin".to_owned(),
    ];
    assert_eq!(cors(&response), expected);
}

#[tokio::test]
async fn sr_29_an_upstream_opens_nothing_to_another_origin() {
    let (gateway, upstream) = setup(|_| ()).await;
    let (_, response) = exchange(&gateway, &upstream, &get("https://evil.example")).await;
    assert_eq!(cors(&response), ["vary: accept-encoding, origin"]);
    let (gateway, upstream) = setup(|setup| setup.allowed_origins = &[]).await;
    let (_, response) = exchange(&gateway, &upstream, &get(APP)).await;
    assert_eq!(cors(&response), ["vary: accept-encoding, origin"], "no origin is allowed at all");
}

#[tokio::test]
async fn a_route_adds_headers_to_the_lists_of_the_gateway() {
    let lists = CorsPolicy::Gateway {
        request_headers: vec!["X-Tenant".to_owned(), "authorization".to_owned()],
        expose_headers: vec!["X-Page".to_owned()],
    };
    let (gateway, upstream) = setup(|setup| setup.cors = lists).await;
    let (_, response) = exchange(&gateway, &upstream, &get(APP)).await;
    assert!(response.contains(&format!("access-control-expose-headers: {EXPOSED}, x-page, x-total")), "{response}");
    let response = answered(&gateway, &preflight("POST")).await;
    let list = response.lines().find_map(|line| line.strip_prefix("access-control-allow-headers: "));
    assert!(list.is_some_and(|list| list.ends_with("traceparent, tracestate, x-tenant")), "{response}");
}

#[tokio::test]
async fn a_refusal_of_a_proxied_route_has_the_gateways_cors_headers() {
    let (gateway, _upstream) = setup(|setup| setup.auth = AuthRequirement::Required).await;
    for request in [get(APP), get(APP).replace("/api/v1/things/1", "/nowhere")] {
        let response = answered(&gateway, &request).await;
        assert!(response.starts_with("http/1.1 403"), "{response}");
        assert!(response.contains(&format!("access-control-allow-origin: {APP}")), "{response}");
    }
}

#[tokio::test]
async fn an_upstream_may_answer_cors_itself() {
    let (gateway, upstream) = setup(|setup| setup.cors = CorsPolicy::Upstream).await;
    for origin in [APP, "https://evil.example"] {
        let (_, response) = exchange(&gateway, &upstream, &get(origin)).await;
        let expected = [
            "access-control-allow-credentials: true",
            "access-control-allow-methods: trace",
            "access-control-allow-origin: *",
            "access-control-expose-headers: *",
            "access-control-expose-headers: x-total, x-request-id",
            "access-control-max-age: 99",
            "vary: accept-encoding, origin",
        ];
        assert_eq!(cors(&response), expected, "{origin}");
    }
}

#[tokio::test]
async fn an_upstream_that_answers_cors_gets_the_preflights() {
    let (gateway, upstream) = setup(|setup| {
        setup.cors = CorsPolicy::Upstream;
        setup.auth = AuthRequirement::Required;
    })
    .await;
    let (seen, response) = exchange(&gateway, &upstream, &preflight("DELETE")).await;
    assert!(seen.starts_with("options /api/v1/things/1 http/1.1"), "{seen}");
    assert!(seen.contains("access-control-request-method: delete"), "{seen}");
    assert!(response.contains("access-control-allow-methods: trace"), "{response}");
    // A preflight carries no identity, whatever credential somebody adds to it.
    let with_credential = preflight("DELETE").replace("Origin:", &format!("Authorization: Bearer {ADA}\r\nOrigin:"));
    let (seen, _) = exchange(&gateway, &upstream, &with_credential).await;
    assert!(!seen.contains("x-portcullis") && !seen.contains("authorization"), "{seen}");
    // Without the header that makes it one, and with one that no preflight has, OPTIONS is a request like others.
    let plain = preflight("DELETE").replace("Access-Control-Request-Method: DELETE\r\n", "");
    let upgrade = preflight("GET").replace("Origin:", "Connection: upgrade\r\nUpgrade: websocket\r\nOrigin:");
    for request in [plain, upgrade] {
        assert!(answered(&gateway, &request).await.starts_with("http/1.1 403"), "{request}");
    }
}
