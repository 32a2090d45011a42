//! CORS by exact origin, on every answer (contract §6, requirement 29).

use portcullis_model::policy::{AuthRequirement, CsrfPolicy, Methods};

use crate::bed::{Bed, Setup, own, route};
use crate::client::{Answer, Call};

const APP: &str = "https://app.example.com";

async fn bed() -> Bed {
    let private = route("/api/v1/private", |policy| policy.auth = AuthRequirement::Required);
    let checked = route("/api/v1/checked", |policy| policy.csrf = CsrfPolicy::Checked);
    let spent = route("/api/v1/spent", |policy| policy.limits = own("1/1h"));
    let mut get = route("/api/v1/get", |_| {});
    get.methods = Methods::Only(vec!["GET".to_owned()]);
    let routes = vec![private, checked, spent, get, route("/api/v1/open", |_| {})];
    Bed::start(Setup { routes, origins: vec![APP, "http://localhost:3000"], ..Setup::default() }).await
}

fn is_readable(answer: &Answer, origin: &str) -> bool {
    let exposed = "X-Request-Id, X-API-Version, RateLimit, RateLimit-Policy, Retry-After, Deprecation, Sunset";
    answer.header("access-control-allow-origin") == Some(origin)
        && answer.header("access-control-allow-credentials") == Some("true")
        && answer.header("access-control-expose-headers") == Some(exposed)
        && answer.header("vary") == Some("Origin")
}

#[tokio::test]
async fn refusals_can_be_read_by_the_page_too() {
    let bed = bed().await;
    bed.get("/api/spent").send().await;
    let ambiguous = bed.post("/api/open").header("Content-Length", "1").header("Transfer-Encoding", "chunked");
    for (call, verdict) in [
        (bed.get("/api/open"), "permit"),
        (bed.get("/nowhere"), "NotFound"),
        (bed.post("/api/get"), "MethodNotAllowed"),
        (bed.get("/a%2fb"), "Malformed"),
        (ambiguous, "Malformed"),
        (bed.get("/api/v0/x"), "InvalidVersion"),
        (bed.get("/api/spent"), "RateLimited"),
        (bed.post("/api/checked"), "InvalidCsrf"),
        (bed.get("/api/private"), "CredentialRequired"),
    ] {
        let answer = call.header("Origin", APP).send().await;
        assert!(answer.refusal().starts_with(verdict), "{answer:?}");
        assert!(is_readable(&answer, APP), "{answer:?}");
    }
}

#[tokio::test]
async fn sr_29_another_origin_gets_no_cors_header_and_no_failure() {
    let bed = bed().await;
    for origin in ["https://evil.example", "null", "https://app.example.com.evil", "http://app.example.com", "*", "é"]
    {
        for call in [bed.get("/api/open"), bed.get("/nowhere"), preflight(&bed, "/api/open", "POST")] {
            let answer = call.header("Origin", origin).send().await;
            assert!(answer.status < 500, "{answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{origin}");
            assert_eq!(answer.header("vary"), Some("Origin"), "a cache must not serve it to an allowed one");
        }
    }
}

fn preflight(bed: &Bed, target: &str, method: &str) -> Call {
    bed.call("OPTIONS", target).header("Access-Control-Request-Method", method)
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_gate_without_credentials_tokens_or_limits() {
    let bed = bed().await;
    for _ in 0..3 {
        for target in ["/api/private", "/api/checked", "/api/spent", "/api/open"] {
            let answer = preflight(&bed, target, "DELETE").header("Origin", APP).send().await;
            assert_eq!(answer.status, 204, "{target}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
            assert_eq!(
                answer.header("access-control-allow-methods"),
                Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
            );
            let allowed = answer.header("access-control-allow-headers").expect("a list");
            let contract = "Content-Type, Authorization, X-CSRF-Token, X-Requested-With, X-API-Version, Accept-Version, \
                            X-API-Key, X-Request-Id, Idempotency-Key, traceparent, tracestate";
            assert_eq!(allowed, contract);
            assert_eq!(answer.header("x-ratelimit-limit"), None, "it counts against nothing");
        }
    }
    assert_eq!(bed.get("/api/spent").refusal().await, "permit", "the one request is still free");
}

#[tokio::test]
async fn options_without_a_preflights_headers_goes_to_the_route() {
    let bed = bed().await;
    assert_eq!(bed.call("OPTIONS", "/api/open").refusal().await, "permit");
    assert_eq!(bed.call("OPTIONS", "/api/open").header("Origin", APP).refusal().await, "permit");
    assert_eq!(bed.call("OPTIONS", "/api/get").refusal().await, "MethodNotAllowed { allow: \"GET, HEAD\" }");
}

#[tokio::test]
async fn without_allowed_origins_nothing_depends_on_the_origin() {
    let bed = Bed::start(Setup::default()).await;
    let answer = bed.get("/api/v1/things/1").header("Origin", APP).send().await;
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (None, None));
}

#[tokio::test]
async fn a_route_may_have_origins_of_its_own() {
    const PARTNER: &str = "https://partner.example";
    let partners = route("/api/v1/partners", |policy| policy.allowed_origins = Some(vec![PARTNER.to_owned()]));
    let nobodys = route("/api/v1/nobodys", |policy| policy.allowed_origins = Some(Vec::new()));
    let routes = vec![partners, nobodys, route("/api/v1/open", |_| {})];
    let bed = Bed::start(Setup { routes, origins: vec![APP], ..Setup::default() }).await;
    for (target, readable_by) in [("/api/partners", Some(PARTNER)), ("/api/nobodys", None), ("/api/open", Some(APP))] {
        for origin in [APP, PARTNER, "null"] {
            for call in [bed.get(target), preflight(&bed, target, "POST")] {
                let answer = call.header("Origin", origin).send().await;
                let expected = readable_by.filter(|allowed| *allowed == origin);
                assert_eq!(answer.header("access-control-allow-origin"), expected, "{target} {origin}");
                assert_eq!(answer.header("access-control-allow-credentials"), expected.map(|_| "true"));
            }
        }
    }
    let answer = bed.get("/api/nobodys").header("Origin", APP).send().await;
    assert_eq!(answer.header("vary"), None, "nothing depends on the origin there");
}

#[tokio::test]
async fn odd_preflights_are_answered_and_open_nothing() {
    let bed = bed().await;
    for (method, status) in [("BREW", 204), ("get", 204), ("POST, GET", 400), ("", 400), ("A B", 400)] {
        let answer = preflight(&bed, "/api/open", method).header("Origin", APP).send().await;
        // What is no method is no preflight: the request goes to the route as the OPTIONS that it is.
        let permitted = answer.status == 200 || answer.status == 204;
        assert!(permitted, "{method:?} {status}: {answer:?}");
        assert_eq!(answer.status == 204, status == 204, "{method:?}");
    }
    assert_eq!(preflight(&bed, "/nowhere", "GET").header("Origin", APP).refusal().await, "NotFound");
    let refused = preflight(&bed, "/api/get", "DELETE").header("Origin", APP).send().await;
    assert_eq!(refused.refusal(), "MethodNotAllowed { allow: \"GET, HEAD\" }");
}
