//! Paths on the wire: one spelling is matched, limited, counted and forwarded.

use portcullis_model::policy::AuthRequirement;

use crate::bed::{Bed, Setup, route};
use crate::client::{Answer, raw};

async fn bed() -> Bed {
    let admin = route("/api/v1/admin/{*rest}", |policy| policy.auth = AuthRequirement::Required);
    let routes = vec![admin, route("/api/v1/{*rest}", |_| {}), route("/files/{name}", |_| {})];
    Bed::start(Setup { routes, ..Setup::default() }).await
}

#[tokio::test]
async fn the_upstream_gets_the_spelling_that_was_matched() {
    let bed = bed().await;
    for (spelled, path) in [
        ("/api/v1/projects/7", "/api/v1/projects/7"),
        ("/api/projects/7", "/api/v1/projects/7"),
        ("//api//v1/./projects/x/../7", "/api/v1/projects/7"),
        ("/api/v1/%70rojects/%37", "/api/v1/projects/7"),
        ("/api/v1/caf%c3%a9", "/api/v1/caf%C3%A9"),
        ("/api/v1/a%20b?q=%2F..%2F", "/api/v1/a%20b"),
        ("/api/../api/projects/", "/api/v1/projects/"),
    ] {
        let answer = bed.get(spelled).send().await;
        assert_eq!((answer.refusal(), answer.line("path")), ("permit", path), "{spelled}");
    }
}

#[tokio::test]
async fn protection_cannot_be_spelled_away() {
    let bed = bed().await;
    for spelled in [
        "/api/v1/admin/users",
        "/api/admin/users",
        "/api/v1//admin/users",
        "/api/v1/x/../admin/users",
        "/api/v1/x/%2e%2e/admin/users",
        "/api/v1/%61dmin/users",
        "/api//admin",
        "/api/v1/admin",
        "/api/v1/admin/",
    ] {
        assert_eq!(bed.get(spelled).refusal().await, "CredentialRequired", "{spelled}");
    }
    for spelled in ["/api/v1/Admin/users", "/api/v1/admin;x/users", "/api/v1/admin%3bx", "/api/ADMIN/users"] {
        assert_eq!(bed.get(spelled).refusal().await, "NotFound", "{spelled}");
    }
    for spelled in [
        "/api/v1/x%2f..%2fadmin",
        "/api/v1/x/..;/admin",
        "/api/v1/%2561dmin",
        "/api/v1/x%5c..%5cadmin",
        "/api/%c0%ae/x",
    ] {
        assert_eq!(bed.get(spelled).refusal().await, "Malformed(Path)", "{spelled}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_path_never_reach_a_route() {
    let bed = bed().await;
    for target in [&b"/api/v1/a\\b"[..], b"/api/v1/%00", b"/api/v1/%", b"/api/v1/%zz", b"/api/v1/\xff\xfe"] {
        let mut request = b"GET ".to_vec();
        request.extend_from_slice(target);
        request.extend_from_slice(b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = Answer::read(raw(bed.address, &request).await);
        assert_eq!(answer.status, 400, "{target:?}");
    }
}

#[tokio::test]
async fn an_alias_counts_under_its_canonical_template() {
    let bed = bed().await;
    for target in ["/api/projects/7", "/api/v1/projects/8", "/api//projects/9"] {
        let answer = bed.get(target).send().await;
        assert_eq!((answer.line("route"), answer.line("label")), ("/api/v1/{*rest}", "/api/v1/{*rest}"));
    }
    let page = bed.metrics.render(false);
    let counted = "http_requests_total{method=\"GET\",route=\"/api/v1/{*rest}\",status_code=\"200\"} 3\n";
    assert!(page.contains(counted), "{page}");
}
