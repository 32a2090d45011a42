//! Which methods reach a route, and which permissions each of them needs (SR-54).

use portcullis_model::policy::{AuthRequirement, Methods, STANDARD_METHODS};
use portcullis_model::{Permission, Role};
use portcullis_testkit::session;

use crate::test_gate::{TestGate, route, route_for};

const STANDARD: &str = "MethodNotAllowed { allow: \"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\" }";

/// A gate with the route `/api/v1/x`, whose table of permissions is `table`, and a user for each permission in it.
async fn gate_with_table(table: &[(&str, &str)]) -> TestGate {
    let permission = |name: &str| Permission::parse(name).expect("a permission");
    let route = route("/api/v1/x", |policy| {
        policy.auth = AuthRequirement::Required;
        for (method, name) in table {
            policy.permissions.by_method.insert((*method).to_owned(), vec![permission(name)]);
        }
    });
    let gate = TestGate::with_routes([route]).await;
    gate.sign_in("nobody", Role::Viewer);
    for (_, name) in table {
        gate.sign_in_as(name, session().role(Role::Viewer).permission(name));
    }
    let all = table.iter().fold(session().role(Role::Viewer), |session, (_, name)| session.permission(name));
    gate.sign_in_as("all", all);
    gate
}

/// The users of the gate whom it permits a method.
async fn permitted(gate: &TestGate, method: &str, users: &[&'static str]) -> Vec<&'static str> {
    let mut permitted = Vec::new();
    for user in users {
        match gate.call(method, "/api/x").bearer(user).verdict().await.as_str() {
            "permit" => permitted.push(*user),
            "NotPermitted" => {}
            other => panic!("{method} as {user}: {other}"),
        }
    }
    permitted
}

#[tokio::test]
async fn sr_54_a_method_in_other_letters_reaches_no_route() {
    let gate = gate_with_table(&[("POST", "DOCUMENT_MAKE")]).await;
    for method in ["post", "Post", "pOST", "get", "delete", "POST_", "POSTS"] {
        let verdict = gate.call(method, "/api/x").bearer("nobody").verdict().await;
        assert_eq!(verdict, STANDARD, "{method}");
    }
}

#[tokio::test]
async fn sr_54_only_standard_or_named_methods_reach_a_route() {
    let gate =
        TestGate::with_routes([route("/api/v1/x", |_| {}), route_for(&["GET", "PURGE"], "/cache", |_| {})]).await;
    for method in STANDARD_METHODS {
        let reply = gate.call(method, "/api/x").send().await;
        assert_eq!(reply.status, 200, "{method}");
    }
    for method in ["TRACE", "PURGE", "PROPFIND", "MKCOL", "BREW"] {
        assert_eq!(gate.call(method, "/api/x").verdict().await, STANDARD, "{method}");
    }
    assert_eq!(gate.call("PURGE", "/cache").verdict().await, "permit");
    let named = "MethodNotAllowed { allow: \"GET, HEAD, PURGE\" }";
    for method in ["purge", "TRACE", "POST", "OPTIONS"] {
        assert_eq!(gate.call(method, "/cache").verdict().await, named, "{method}");
    }
}

#[test]
fn sr_54_no_route_can_name_trace_or_connect() {
    let metrics = portcullis_telemetry::Metrics::new(&portcullis_telemetry::MetricsOptions::default(), "1");
    for method in ["TRACE", "CONNECT"] {
        let spec = route_for(&["GET", method], "/x", |_| {});
        assert!(matches!(spec.methods, Methods::Only(_)));
        let refused =
            portcullis_gate::RouteTable::build(vec![spec], &portcullis_gate::Versions::new(Vec::new()), &metrics)
                .err()
                .expect("it is refused");
        assert!(refused.to_string().contains(method), "{refused}");
    }
}

#[tokio::test]
async fn sr_54_an_unsafe_method_without_an_entry_needs_all() {
    let gate = gate_with_table(&[("GET", "DOCUMENT_READ"), ("POST", "DOCUMENT_MAKE")]).await;
    let users = ["nobody", "DOCUMENT_READ", "DOCUMENT_MAKE", "all"];
    assert_eq!(permitted(&gate, "POST", &users).await, ["DOCUMENT_MAKE", "all"]);
    for method in ["PUT", "PATCH", "DELETE"] {
        assert_eq!(permitted(&gate, method, &users).await, ["all"], "{method}");
    }
    assert_eq!(permitted(&gate, "GET", &users).await, ["DOCUMENT_READ", "all"]);
    assert_eq!(permitted(&gate, "OPTIONS", &users).await, users);
}

#[tokio::test]
async fn sr_54_a_safe_method_needs_only_what_is_listed() {
    let gate = gate_with_table(&[("POST", "DOCUMENT_MAKE"), ("OPTIONS", "DOCUMENT_LIST")]).await;
    let users = ["nobody", "DOCUMENT_LIST"];
    assert_eq!(permitted(&gate, "GET", &users).await, users);
    assert_eq!(permitted(&gate, "OPTIONS", &users).await, ["DOCUMENT_LIST"]);
}

#[tokio::test]
async fn sr_54_head_counts_as_get() {
    let gate = gate_with_table(&[("GET", "DOCUMENT_READ"), ("HEAD", "DOCUMENT_PEEK")]).await;
    for (user, status) in [("nobody", 400), ("DOCUMENT_PEEK", 400), ("DOCUMENT_READ", 400), ("all", 200)] {
        assert_eq!(gate.call("HEAD", "/api/x").bearer(user).send().await.status, status, "{user}");
    }
    let gate = gate_with_table(&[("POST", "DOCUMENT_MAKE")]).await;
    assert_eq!(gate.call("HEAD", "/api/x").bearer("nobody").send().await.status, 200);
}
