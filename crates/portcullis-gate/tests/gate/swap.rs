//! A configuration is one value: swapped whole, between requests.

use portcullis_model::policy::AuthRequirement;

use crate::bed::{Bed, Setup, own, route};

#[tokio::test]
async fn the_next_request_is_judged_by_the_new_configuration() {
    let bed = Bed::start(Setup::default()).await;
    assert_eq!(bed.get("/api/things/1").refusal().await, "permit");
    assert_eq!(bed.get("/api/others").refusal().await, "NotFound");
    let closed = route("/api/v1/things/{*rest}", |policy| policy.auth = AuthRequirement::Required);
    bed.swap(Setup { routes: vec![closed, route("/api/v1/others", |_| {})], ..Setup::default() });
    assert_eq!(bed.get("/api/things/1").refusal().await, "CredentialRequired");
    assert_eq!(bed.get("/api/others").refusal().await, "permit");
}

#[tokio::test]
async fn a_swap_forgives_nobody_what_they_spent() {
    let own = || route("/api/v1/own", |policy| policy.limits = own("1/1h"));
    let bed = Bed::start(Setup { routes: vec![own()], ..Setup::default() }).await;
    assert_eq!(bed.get("/api/own").refusal().await, "permit");
    bed.swap(Setup { routes: vec![route("/api/v1/another", |_| {}), own()], ..Setup::default() });
    assert!(bed.get("/api/own").refusal().await.starts_with("RateLimited"));
}

#[tokio::test]
async fn the_same_route_keeps_its_series_across_a_swap() {
    let bed = Bed::start(Setup::default()).await;
    bed.get("/api/things/1").send().await;
    bed.swap(Setup::default());
    bed.get("/api/things/1").send().await;
    let page = bed.metrics.render(false);
    let counted = "http_requests_total{method=\"GET\",route=\"/api/v1/things/{*rest}\",status_code=\"200\"} 2\n";
    assert!(page.contains(counted), "{page}");
}
