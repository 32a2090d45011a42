//! Who the caller is, and what the role and permissions allow (docs/contract.md, "Identity"; SR-22, SR-35, SR-41).

use std::time::Duration;

use portcullis_model::policy::{AuthRequirement, MethodPermissions};
use portcullis_model::{ApiKeyScopes, Permission, Role};
use portcullis_testkit::session;

use crate::test_gate::{TestGate, private_route, route};

/// A gate with a route for each requirement.
async fn gate() -> TestGate {
    let permission = |name| vec![Permission::parse(name).expect("a permission")];
    let permissions = route("/api/v1/permissions", |policy| {
        policy.auth = AuthRequirement::Required;
        let by_method = [("PUT".to_owned(), permission("USER_EDIT"))].into();
        policy.permissions = MethodPermissions { always: permission("USER_VIEW"), by_method };
    });
    let get_permission = route("/api/v1/get-permission", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.permissions.by_method = [("GET".to_owned(), permission("USER_EDIT"))].into();
    });
    let managers = route("/api/v1/managers", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.minimum_role = Some(Role::Manager);
    });
    let routes = [
        route("/api/v1/none", |policy| policy.auth = AuthRequirement::None),
        route("/api/v1/optional", |policy| policy.auth = AuthRequirement::Optional),
        private_route("/api/v1/required"),
        permissions,
        get_permission,
        managers,
    ];
    TestGate::with_routes(routes).await
}

/// A gate with one user signed in, whose token is `ada`.
async fn gate_with_ada() -> TestGate {
    let gate = gate().await;
    gate.sign_in("ada", Role::Developer);
    gate
}

async fn required_with(gate: &TestGate, authorization: &str) -> String {
    gate.get("/api/required").header("Authorization", authorization).verdict().await
}

async fn required_as(gate: &TestGate, token: &str) -> String {
    gate.get("/api/required").bearer(token).verdict().await
}

#[tokio::test]
async fn the_route_decides_on_a_missing_or_invalid_credential() {
    let gate = gate_with_ada().await;
    for (route, none, invalid, two) in [
        ("none", "permit", "permit", "permit"),
        ("optional", "permit", "InvalidCredential", "TwoCredentials"),
        ("required", "CredentialRequired", "InvalidCredential", "TwoCredentials"),
    ] {
        let get = || gate.get(&format!("/api/{route}"));
        assert_eq!(get().verdict().await, none, "{route}");
        assert_eq!(get().bearer("garbage").verdict().await, invalid, "{route}");
        assert_eq!(get().bearer("ada").header("X-API-Key", "pk_x").verdict().await, two, "{route}");
        assert_eq!(get().bearer("ada").cookie("portcullis-session", "ada").verdict().await, two, "{route}");
    }
}

#[tokio::test]
async fn a_valid_credential_gives_the_principal_on_every_route() {
    let gate = gate().await;
    let ada = gate.sign_in("ada", Role::Developer);
    for route in ["none", "optional", "required"] {
        let get = || gate.get(&format!("/api/{route}"));
        let by_bearer = get().bearer("ada").send().await;
        assert_eq!(by_bearer.line("principal"), format!("{} Bearer", ada.id), "{route}");
        let by_cookie = get().cookie("portcullis-session", "ada").send().await;
        assert_eq!(by_cookie.line("principal"), format!("{} Cookie", ada.id), "{route}");
    }
}

#[tokio::test]
async fn an_invalid_credential_is_anonymous_where_none_is_needed() {
    let reply = gate().await.get("/api/none").bearer("garbage").send().await;
    assert_eq!(reply.line("principal"), "anonymous");
}

#[tokio::test]
async fn the_bearer_scheme_is_read_in_any_case() {
    let gate = gate_with_ada().await;
    for value in ["Bearer ada", "bearer ada", "BEARER ada", "Bearer  ada"] {
        assert_eq!(required_with(&gate, value).await, "permit", "{value}");
    }
}

#[tokio::test]
async fn another_scheme_is_no_credential() {
    let gate = gate_with_ada().await;
    for value in ["Basic YWRhOmFkYQ==", "Bearer", "ada", "Bearerada"] {
        assert_eq!(required_with(&gate, value).await, "CredentialRequired", "{value}");
    }
}

#[tokio::test]
async fn a_token_is_compared_byte_for_byte() {
    let gate = gate_with_ada().await;
    let huge = format!("Bearer {}", "a".repeat(8000));
    for value in ["Bearer ada2", "Bearer ada ada", "Bearer ADA", "Bearer ada,", "Bearer pk_ada", &huge] {
        assert_eq!(required_with(&gate, value).await, "InvalidCredential", "{value:.40}");
    }
}

#[tokio::test]
async fn a_credential_that_is_sent_twice_is_invalid() {
    let gate = gate_with_ada().await;
    let headers = gate.get("/api/required").bearer("ada").bearer("ada");
    assert_eq!(headers.verdict().await, "InvalidCredential");
    let cookies = gate.get("/api/required").header("Cookie", "portcullis-session=ada; portcullis-session=ada");
    assert_eq!(cookies.verdict().await, "InvalidCredential");
}

#[tokio::test]
async fn a_token_in_the_url_is_no_credential() {
    let gate = gate_with_ada().await;
    assert_eq!(gate.get("/api/required?access_token=ada").verdict().await, "CredentialRequired");
}

#[tokio::test]
async fn sr_41_a_known_token_and_session_cost_one_signature_check() {
    let gate = gate_with_ada().await;
    for _ in 0..5 {
        let reply = gate.get("/api/required").bearer("ada").send().await;
        assert_eq!((reply.verdict(), reply.header("x-polls")), ("permit", Some("1")), "the gate awaits nothing");
    }
    assert_eq!(gate.sessions.verifications(), 1);
}

#[tokio::test]
async fn sr_41_a_remembered_token_expires() {
    let gate = gate_with_ada().await;
    assert_eq!(required_as(&gate, "ada").await, "permit");
    gate.clock.advance(Duration::from_secs(3600));
    assert_eq!(required_as(&gate, "ada").await, "InvalidCredential");
}

#[tokio::test]
async fn sr_22_an_ended_session_takes_its_access_tokens_with_it() {
    let gate = gate().await;
    let ada = gate.sign_in("ada", Role::Developer);
    gate.sign_in("grace", Role::Developer);
    assert_eq!(required_as(&gate, "ada").await, "permit");
    gate.sessions.end(ada.id);
    assert_eq!(required_as(&gate, "ada").await, "InvalidCredential");
    assert_eq!(required_as(&gate, "grace").await, "permit", "another session goes on");
}

#[tokio::test]
async fn sr_35_a_changed_role_counts_at_the_next_request() {
    let gate = gate().await;
    let ada = gate.sign_in("ada", Role::Manager);
    let managers = || gate.get("/api/managers").bearer("ada").verdict();
    assert_eq!(managers().await, "permit");
    gate.sessions.put(session().id(ada.id).user(ada.user_id).role(Role::Tester).build());
    assert_eq!(managers().await, "NotPermitted", "the token is the same, but the session decides");
}

#[tokio::test]
async fn a_token_that_does_not_belong_to_its_session_is_invalid() {
    let gate = gate().await;
    let ada = gate.sign_in("ada", Role::Developer);
    let of_session = || session().id(ada.id);
    for (token, forged) in
        [("another user's", of_session()), ("of a later epoch", of_session().user(ada.user_id).epochs(1, 2))]
    {
        gate.sessions.issue(token, &forged.build(), 0..i64::MAX);
        assert_eq!(required_as(&gate, token).await, "InvalidCredential", "{token}");
    }
}

#[tokio::test]
async fn sr_51_a_key_of_an_unconfirmed_owner_is_refused() {
    let gate = gate().await;
    let key = gate.api_key_of(session().unconfirmed_email(), ApiKeyScopes::All);
    for (route, verdict) in [("required", "EmailNotVerified"), ("optional", "EmailNotVerified"), ("none", "permit")] {
        let reply = gate.get(&format!("/api/{route}")).header("X-API-Key", &key).send().await;
        assert_eq!(reply.verdict(), verdict, "{route}");
    }
    let open = gate.get("/api/none").header("X-API-Key", &key).send().await;
    assert_eq!(open.line("principal"), "anonymous", "it identifies nobody either");
}

#[tokio::test]
async fn a_session_that_is_not_cached_is_loaded() {
    let gate = gate_with_ada().await;
    gate.sessions.set_cold(true);
    let reply = gate.get("/api/required").bearer("ada").send().await;
    assert_eq!((reply.verdict(), reply.header("x-polls")), ("permit", Some("2")));
}

#[tokio::test]
async fn a_session_that_cannot_be_loaded_is_unavailable() {
    let gate = gate_with_ada().await;
    gate.sessions.set_cold(true);
    gate.sessions.set_unreachable(true);
    assert_eq!(required_as(&gate, "ada").await, "Unavailable");
    assert_eq!(gate.get("/api/none").bearer("ada").verdict().await, "permit");
    assert_eq!(required_as(&gate, "garbage").await, "InvalidCredential", "its signature alone decides");
}

#[tokio::test]
async fn roles_and_permissions_are_required_by_method() {
    let gate = gate().await;
    let roles = [Role::Viewer, Role::Developer, Role::Manager, Role::Admin];
    for role in roles {
        gate.sign_in(role.as_str(), role);
    }
    for (method, target, lowest) in [
        ("GET", "/api/permissions", Role::Manager),
        ("PUT", "/api/permissions", Role::Manager),
        ("GET", "/api/managers", Role::Manager),
        ("GET", "/api/get-permission", Role::Manager),
    ] {
        for role in roles {
            let verdict = gate.call(method, target).bearer(role.as_str()).verdict().await;
            let expected = if role >= lowest { "permit" } else { "NotPermitted" };
            assert_eq!(verdict, expected, "{method} {target} as {role}");
        }
    }
}

#[tokio::test]
async fn head_requires_the_permissions_of_get() {
    let gate = gate_with_ada().await;
    assert_eq!(gate.call("HEAD", "/api/get-permission").bearer("ada").send().await.status, 400);
}

#[tokio::test]
async fn an_api_key_that_is_not_cached_is_looked_up() {
    let gate = gate().await;
    let key = gate.api_key(ApiKeyScopes::All);
    gate.sessions.set_cold(true);
    let unknown = portcullis_model::api_key::generate(&portcullis_model::Random::system());
    let by = async |key: &str| gate.get("/api/required").header("x-api-key", key).verdict().await;
    assert_eq!(by(&key).await, "permit");
    assert_eq!(by(unknown.expose()).await, "InvalidCredential");
    gate.sessions.set_unreachable(true);
    assert_eq!(by(&key).await, "Unavailable", "it may be a valid one");
}
