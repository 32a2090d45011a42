//! Paths as clients write them: the normalised path is matched, counted and forwarded.

use crate::client::{Reply, raw};
use crate::test_gate::{TestGate, private_route, route};

async fn gate() -> TestGate {
    let routes =
        [private_route("/api/v1/admin/{*rest}"), route("/api/v1/{*rest}", |_| {}), route("/files/{name}", |_| {})];
    TestGate::with_routes(routes).await
}

#[tokio::test]
async fn an_upstream_gets_the_path_that_was_matched() {
    let gate = gate().await;
    for (written, path) in [
        ("/api/v1/projects/7", "/api/v1/projects/7"),
        ("/api/projects/7", "/api/v1/projects/7"),
        ("//api//v1/./projects/x/../7", "/api/v1/projects/7"),
        ("/api/v1/%70rojects/%37", "/api/v1/projects/7"),
        ("/api/v1/caf%c3%a9", "/api/v1/caf%C3%A9"),
        ("/api/v1/a%20b?q=%2F..%2F", "/api/v1/a%20b"),
        ("/api/../api/projects/", "/api/v1/projects/"),
    ] {
        let reply = gate.get(written).send().await;
        assert_eq!((reply.verdict(), reply.line("path")), ("permit", path), "{written}");
    }
}

#[tokio::test]
async fn every_spelling_of_a_private_path_needs_a_credential() {
    let gate = gate().await;
    for written in [
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
        assert_eq!(gate.get(written).verdict().await, "CredentialRequired", "{written}");
    }
}

#[tokio::test]
async fn a_path_that_a_lenient_server_reads_as_private_is_not_found() {
    let gate = gate().await;
    for written in ["/api/v1/Admin/users", "/api/v1/admin;x/users", "/api/v1/admin%3bx", "/api/ADMIN/users"] {
        assert_eq!(gate.get(written).verdict().await, "NotFound", "{written}");
    }
}

#[tokio::test]
async fn an_ambiguous_path_is_malformed() {
    let gate = gate().await;
    for written in [
        "/api/v1/x%2f..%2fadmin",
        "/api/v1/x/..;/admin",
        "/api/v1/%2561dmin",
        "/api/v1/x%5c..%5cadmin",
        "/api/%c0%ae/x",
    ] {
        assert_eq!(gate.get(written).verdict().await, "Malformed(Path)", "{written}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_a_path_never_reach_a_route() {
    let gate = gate().await;
    for target in [&b"/api/v1/a\\b"[..], b"/api/v1/%00", b"/api/v1/%", b"/api/v1/%zz", b"/api/v1/\xff\xfe"] {
        let mut request = b"GET ".to_vec();
        request.extend_from_slice(target);
        request.extend_from_slice(b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let reply = Reply::read(raw(gate.address, &request).await);
        assert_eq!(reply.status, 400, "{target:?}");
    }
}

#[tokio::test]
async fn an_alias_counts_under_its_canonical_template() {
    let gate = gate().await;
    for target in ["/api/projects/7", "/api/v1/projects/8", "/api//projects/9"] {
        let reply = gate.get(target).send().await;
        assert_eq!((reply.line("route"), reply.line("label")), ("/api/v1/{*rest}", "/api/v1/{*rest}"));
    }
    gate.assert_metric("http_requests_total{method=\"GET\",route=\"/api/v1/{*rest}\",status_code=\"200\"} 3");
}
