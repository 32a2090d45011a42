//! Who calls, and what they may do (contract §1; requirements 22, 30, 41).

use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_model::policy::{AuthRequirement, MethodPermissions};
use portcullis_model::{Permission, Role};

use crate::bed::{Bed, Setup, route};

async fn bed() -> Bed {
    let auth = |template, auth| route(template, move |policy| policy.auth = auth);
    let permissions = route("/api/v1/permissions", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.permissions = MethodPermissions {
            always: vec![Permission::parse("USER_VIEW").expect("a permission")],
            by_method: [("PUT".to_owned(), vec![Permission::parse("USER_EDIT").expect("a permission")])].into(),
        };
    });
    let get_only = route("/api/v1/get-permission", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.permissions.by_method =
            [("GET".to_owned(), vec![Permission::parse("USER_EDIT").expect("a permission")])].into();
    });
    let managers = route("/api/v1/managers", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.minimum_role = Some(Role::Manager);
    });
    let routes = vec![
        auth("/api/v1/none", AuthRequirement::None),
        auth("/api/v1/optional", AuthRequirement::Optional),
        auth("/api/v1/required", AuthRequirement::Required),
        permissions,
        get_only,
        managers,
    ];
    Bed::start(Setup { routes, ..Setup::default() }).await
}

#[tokio::test]
async fn what_a_route_asks_for_decides_what_a_bad_credential_means() {
    let bed = bed().await;
    let ada = bed.sign_in("ada", Role::Developer);
    for (route, nobody, bad, two) in [
        ("none", "permit", "permit", "permit"),
        ("optional", "permit", "InvalidCredential", "TwoCredentials"),
        ("required", "CredentialRequired", "InvalidCredential", "TwoCredentials"),
    ] {
        let get = || bed.get(&format!("/api/{route}"));
        assert_eq!(get().refusal().await, nobody, "{route}");
        assert_eq!(get().bearer("garbage").refusal().await, bad, "{route}");
        assert_eq!(get().bearer("ada").header("X-API-Key", "pk_x").refusal().await, two, "{route}");
        assert_eq!(get().bearer("ada").cookie("portcullis-session", "ada").refusal().await, two, "{route}");
        let good = get().bearer("ada").send().await;
        assert_eq!(good.line("principal"), format!("{} Bearer", ada.id), "{route}");
        let by_cookie = get().cookie("portcullis-session", "ada").send().await;
        assert_eq!(by_cookie.line("principal"), format!("{} Cookie", ada.id), "{route}");
    }
    let ignored = bed.get("/api/none").bearer("garbage").send().await;
    assert_eq!(ignored.line("principal"), "nobody");
}

#[tokio::test]
async fn a_credential_is_read_in_one_way_only() {
    let bed = bed().await;
    bed.sign_in("ada", Role::Developer);
    let with = |value: &str| bed.get("/api/required").header("Authorization", value);
    for value in ["Bearer ada", "bearer ada", "BEARER ada", "Bearer  ada"] {
        assert_eq!(with(value).refusal().await, "permit", "{value}");
    }
    for value in ["Basic YWRhOmFkYQ==", "Bearer", "ada", "Bearerada"] {
        assert_eq!(with(value).refusal().await, "CredentialRequired", "{value}");
    }
    for value in ["Bearer ada2", "Bearer ada ada", "Bearer ADA", "Bearer ada,", "Bearer pk_ada"] {
        assert_eq!(with(value).refusal().await, "InvalidCredential", "{value}");
    }
    let twice = with("Bearer ada").header("Authorization", "Bearer ada");
    assert_eq!(twice.refusal().await, "InvalidCredential", "two headers of one name");
    let planted = bed.get("/api/required").header("Cookie", "portcullis-session=ada; portcullis-session=ada");
    assert_eq!(planted.refusal().await, "InvalidCredential", "two cookies of one name");
    let huge = format!("Bearer {}", "a".repeat(8000));
    assert_eq!(with(&huge).refusal().await, "InvalidCredential");
    assert_eq!(bed.get("/api/required?access_token=ada").refusal().await, "CredentialRequired", "never in a URL");
}

#[tokio::test]
async fn sr_41_a_hit_in_the_table_of_tokens_is_checked_against_clock_and_session() {
    let bed = bed().await;
    let ada = bed.sign_in("ada", Role::Developer);
    let get = || bed.get("/api/required").bearer("ada").send();
    for _ in 0..5 {
        let answer = get().await;
        assert_eq!((answer.refusal(), answer.header("x-polls")), ("permit", Some("1")), "nothing is awaited");
    }
    assert_eq!(bed.tokens.verified.load(Ordering::SeqCst), 1, "one signature check for five requests");
    bed.clock.advance(Duration::from_secs(3600));
    assert_eq!(get().await.refusal(), "InvalidCredential", "expired");
    bed.sign_in("grace", Role::Developer);
    let grace = || bed.get("/api/required").bearer("grace").refusal();
    assert_eq!(grace().await, "permit");
    bed.sessions.end(ada.id);
    assert_eq!(grace().await, "permit", "somebody else's end is not theirs");
}

#[tokio::test]
async fn sr_22_an_ended_session_takes_its_access_tokens_with_it() {
    let bed = bed().await;
    let ada = bed.sign_in("ada", Role::Developer);
    let get = || bed.get("/api/required").bearer("ada").refusal();
    assert_eq!(get().await, "permit");
    bed.sessions.end(ada.id);
    assert_eq!(get().await, "InvalidCredential");
}

#[tokio::test]
async fn sr_35_a_role_that_changed_counts_at_the_next_request() {
    let bed = bed().await;
    let ada = bed.sign_in("ada", Role::Manager);
    let get = || bed.get("/api/managers").bearer("ada").refusal();
    assert_eq!(get().await, "permit");
    let mut demoted = crate::people::session(Role::Tester);
    (demoted.id, demoted.user_id) = (ada.id, ada.user_id);
    bed.sessions.put(demoted);
    assert_eq!(get().await, "NotPermitted", "the token is the same, the session decides");
}

#[tokio::test]
async fn a_token_and_a_session_that_do_not_belong_together_are_no_credential() {
    let bed = bed().await;
    let ada = bed.sign_in("ada", Role::Developer);
    let mut forged = crate::people::session(Role::Admin);
    forged.id = ada.id;
    bed.tokens.issue("anothers", &forged, i64::MAX);
    assert_eq!(bed.get("/api/required").bearer("anothers").refusal().await, "InvalidCredential", "another user's");
    let mut demo = crate::people::session(Role::Admin);
    (demo.id, demo.user_id, demo.demo) = (ada.id, ada.user_id, true);
    bed.tokens.issue("demo", &demo, i64::MAX);
    assert_eq!(bed.get("/api/required").bearer("demo").refusal().await, "InvalidCredential", "a demo token");
    let mut ahead = crate::people::session(Role::Developer);
    (ahead.id, ahead.user_id, ahead.user_epoch) = (ada.id, ada.user_id, 2);
    bed.tokens.issue("ahead", &ahead, i64::MAX);
    assert_eq!(bed.get("/api/required").bearer("ahead").refusal().await, "InvalidCredential", "of a later epoch");
}

#[tokio::test]
async fn a_session_that_nobody_can_look_up_is_neither_good_nor_bad() {
    let bed = bed().await;
    bed.sign_in("ada", Role::Developer);
    bed.sessions.cold.store(true, Ordering::SeqCst);
    let answer = bed.get("/api/required").bearer("ada").send().await;
    assert_eq!((answer.refusal(), answer.header("x-polls")), ("permit", Some("2")), "asked where it is kept");
    bed.sessions.unreachable.store(true, Ordering::SeqCst);
    assert_eq!(bed.get("/api/required").bearer("ada").refusal().await, "Unavailable");
    assert_eq!(bed.get("/api/none").bearer("ada").refusal().await, "permit");
    assert_eq!(bed.get("/api/required").bearer("garbage").refusal().await, "InvalidCredential");
}

#[tokio::test]
async fn roles_and_permissions_are_asked_for_by_method() {
    let bed = bed().await;
    for role in [Role::Viewer, Role::Developer, Role::Manager, Role::Admin] {
        bed.sign_in(role.as_str(), role);
    }
    for (method, target, lowest) in [
        ("GET", "/api/permissions", Role::Developer),
        ("PUT", "/api/permissions", Role::Manager),
        ("GET", "/api/managers", Role::Manager),
        ("GET", "/api/get-permission", Role::Manager),
    ] {
        for role in [Role::Viewer, Role::Developer, Role::Manager, Role::Admin] {
            let verdict = bed.call(method, target).bearer(role.as_str()).refusal().await;
            let expected = if role >= lowest { "permit" } else { "NotPermitted" };
            assert_eq!(verdict, expected, "{method} {target} as {role}");
        }
    }
    let head = bed.call("HEAD", "/api/get-permission").bearer("DEVELOPER").send().await;
    assert_eq!(head.status, 400, "HEAD asks for what GET asks for");
}
