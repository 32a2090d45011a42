//! What a permit tells the endpoint or the proxy about its request.

use portcullis_model::Role;

use crate::test_gate::{TestGate, proxied_route, route};

#[tokio::test]
async fn a_permit_has_the_parameters_of_a_built_in_template() {
    let gate = TestGate::with_routes([route("/api/v1/users/{id}", |_| {}), route("/api/v1/me", |_| {})]).await;
    assert_eq!(gate.get("/api/users/17").send().await.line("id"), "17");
    assert_eq!(gate.get("/api/me").send().await.line("id"), "-");
}

#[tokio::test]
async fn a_permit_has_the_id_of_the_response() {
    let gate = TestGate::with_routes([route("/api/v1/x", |_| {})]).await;
    let reply = gate.get("/api/x").send().await;
    assert_eq!(Some(reply.line("request")), reply.header("x-request-id"));
}

#[tokio::test]
async fn a_permit_tells_what_was_presented_valid_or_not() {
    let gate = TestGate::with_routes([proxied_route("/api/v1/x")]).await;
    gate.sign_in("ada", Role::Developer);
    let told = async |call: crate::client::Call| {
        let reply = call.send().await;
        ["presented", "session-cookie", "refresh-cookie"].map(|name| reply.line(name).to_owned())
    };
    assert_eq!(told(gate.get("/api/x")).await, ["false", "false", "-"]);
    assert_eq!(told(gate.get("/api/x").bearer("ada")).await, ["true", "false", "-"]);
    assert_eq!(told(gate.get("/api/x").bearer("garbage")).await, ["true", "false", "-"]);
    assert_eq!(told(gate.get("/api/x").cookie("portcullis-session", "garbage")).await, ["true", "true", "-"]);
    assert_eq!(told(gate.get("/api/x").cookie("portcullis-refresh", "r1")).await, ["false", "false", "r1"]);
    let planted = gate.get("/api/x").header("cookie", "portcullis-refresh=r1; portcullis-refresh=r2");
    assert_eq!(told(planted).await, ["false", "false", "-"], "one of two cookies was planted");
}
