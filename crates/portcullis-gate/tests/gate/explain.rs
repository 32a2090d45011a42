//! `explain` (requirement 46): the same verdict as the request itself, at no cost to anybody.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_gate::{Phase, Rehearsal, RehearsedCaller};
use portcullis_model::policy::{AuthRequirement, BodyLimit, CsrfPolicy, LimitClass, Methods, RoutePolicy};
use portcullis_model::{ApiKeyScopes, Limit, LimitBy, Multipliers, Permission, Role};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::bed::{Bed, Setup, csrf_endpoint, own, rate, route};
use crate::people::session;

fn rehearsal(method: &str, target: &str, headers: &[(String, String)]) -> Rehearsal {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::try_from(name.as_str()).expect("a name"),
            HeaderValue::from_str(value).expect("a value"),
        );
    }
    Rehearsal {
        method: method.parse().expect("a method"),
        uri: target.parse().expect("a target"),
        headers: map,
        peer: "127.0.0.1".parse().expect("an address"),
        caller: RehearsedCaller::FromHeaders,
    }
}

/// What metrics say of requests.
fn counted(bed: &Bed) -> Vec<String> {
    bed.metrics.render(false).lines().filter(|line| !line.contains("process_")).map(str::to_owned).collect()
}

/// What a route may ask for, from a few choices each.
fn policies() -> impl Strategy<Value = RoutePolicy> {
    let auth = prop::sample::select(vec![AuthRequirement::None, AuthRequirement::Optional, AuthRequirement::Required]);
    let csrf = prop::sample::select(vec![
        CsrfPolicy::Checked,
        CsrfPolicy::ExemptUnlessCookie,
        CsrfPolicy::ExemptWithOriginCheck,
        CsrfPolicy::Exempt,
    ]);
    let role = prop::option::of(prop::sample::select(Role::ALL.to_vec()));
    let permission = prop::option::of(Just(Permission::from(Permission::USER_VIEW)));
    let limits = prop::sample::select(vec![
        Vec::new(),
        own("1/1h"),
        vec![Limit::by_address("a", rate("2/1h").expect("on"))],
        vec![Limit::new("h", rate("1/1h").expect("on"), LimitBy::Header("x-tenant".into()))],
        vec![Limit {
            multipliers: Multipliers::new([(Role::Admin, 3)]),
            ..Limit::new("r", rate("1/1h").expect("on"), LimitBy::Role)
        }],
    ]);
    let age = prop::option::weighted(0.3, Just(Duration::from_secs(100)));
    let networks = prop::sample::select(vec!["", "", "", "10.0.0.0/8", "127.0.0.0/8"]);
    let origins = prop::option::of(Just(vec!["https://partner.example".to_owned()]));
    (auth, csrf, role, permission, limits, (age, networks, origins), any::<(bool, bool, bool)>()).prop_map(
        |(auth, csrf, minimum_role, permission, limits, (age, networks, origins), (email, signed_in, database))| {
            let mut policy = RoutePolicy {
                csrf,
                minimum_role,
                limits,
                max_session_age: age,
                networks: networks.parse().into_iter().collect(),
                allowed_origins: origins,
                verified_email: email,
                signed_in_only: signed_in,
                needs_database: database,
                limit_class: LimitClass::Api,
                max_body: BodyLimit::Bytes(10),
                ..RoutePolicy::requiring(auth)
            };
            policy.permissions.always.extend(permission);
            policy
        },
    )
}

fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let one = |name: &'static str, values: &'static [&'static str]| {
        prop::option::weighted(0.4, prop::sample::select(values))
            .prop_map(move |value| value.map(|value| (name.to_owned(), value.to_owned())))
    };
    (
        one(
            "authorization",
            &["Bearer ada", "Bearer old", "Bearer ada", "Bearer old", "Bearer garbage", "Basic x", "Bearer pk_x"],
        ),
        one(
            "cookie",
            &["portcullis-session=root", "portcullis-session=garbage", "portcullis-csrf=x; portcullis-pre=y"],
        ),
        one("x-csrf-token", &["x", "y", ""]),
        one("origin", &["https://app.example.com", "https://partner.example", "https://evil.example", "null"]),
        one("sec-fetch-site", &["same-origin", "cross-site", "none"]),
        one("x-forwarded-for", &["10.0.0.9", "203.0.113.7, 10.0.0.1", "nonsense"]),
        one("x-tenant", &["a", "b"]),
        one("accept-version", &["v1", "v2", "v9", "V1"]),
        one("content-length", &["0"]),
        one("access-control-request-method", &["POST", "NOPE"]),
    )
        .prop_map(|(a, b, c, d, e, f, g, h, i, j)| [a, b, c, d, e, f, g, h, i, j].into_iter().flatten().collect())
}

/// Three routes with policies of their own, an API key, two people, and any request: `explain` and the request agree,
/// and asking first changes nothing.
#[test]
fn sr_46_explain_gives_the_verdict_that_the_request_gets() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let target = prop::sample::select(vec![
        "/api/v1/a/1",
        "/api/a",
        "/api/a/x?_csrf=x",
        "/b",
        "/b/",
        "/api/v2/c",
        "/api/c?api_version=v2",
        "/api/v9/c",
        "/api/v0/a",
        "/nowhere",
        "/api/a/%2e%2e/b",
        "/api/v1/A/1",
        "/api/csrf-token",
    ]);
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"]);
    let cases = (
        (policies(), policies(), policies()),
        prop::collection::vec((method, target, headers(), any::<bool>()), 1..8),
        any::<(bool, bool)>(),
    );
    let mut runner = TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    let seen = std::cell::RefCell::new(std::collections::BTreeSet::new());
    runner
        .run(&cases, |((a, b, c), requests, (behind, report))| {
            runtime.block_on(async {
                let mut only_get = route("/b", move |policy| *policy = b);
                only_get.methods = Methods::Only(vec!["GET".to_owned(), "POST".to_owned()]);
                let routes = vec![
                    route("/api/v1/a/{*rest}", move |policy| *policy = a),
                    only_get,
                    route("/api/v2/c", move |policy| *policy = c),
                    csrf_endpoint(),
                ];
                let bed = Bed::start(Setup {
                    routes,
                    versions: vec![portcullis_gate::Version::current("v2")],
                    origins: vec!["https://app.example.com"],
                    trusted_proxies: vec!["127.0.0.0/8", "10.0.0.0/24"],
                    api_limit: rate("5/1h"),
                    writes_limit: rate("2/1h").map(|rate| Limit::new("writes", rate, LimitBy::Caller)),
                    csrf_mode: if report {
                        portcullis_gate::CsrfMode::Report
                    } else {
                        portcullis_gate::CsrfMode::Always
                    },
                    ..Setup::default()
                })
                .await;
                let mut ada = session(Role::Developer);
                ada.authenticated_at = bed.clock.unix_seconds();
                bed.tokens.issue("ada", &bed.sessions.put(ada), i64::MAX);
                let mut old = session(Role::Viewer);
                old.email_verified = false;
                bed.tokens.issue("old", &bed.sessions.put(old), i64::MAX);
                bed.sign_in("root", Role::Admin);
                let key = bed.api_key(ApiKeyScopes::All);
                bed.sessions.behind.store(behind, Ordering::SeqCst);
                for (method, target, mut headers, by_key) in requests {
                    if by_key {
                        headers.push(("x-api-key".to_owned(), key.clone()));
                    }
                    let before = counted(&bed);
                    let explained = bed.gate.explain(&rehearsal(method, target, &headers)).await;
                    bed.gate.explain(&rehearsal(method, target, &headers)).await;
                    prop_assert_eq!(before, counted(&bed), "asking is counted nowhere");
                    let mut call = bed.call(method, target);
                    for (name, value) in &headers {
                        call = call.header(name, value);
                    }
                    let got = call.send().await;
                    let got = if method == "HEAD" { None } else { Some(got.refusal().to_owned()) };
                    let said = match &explained.verdict {
                        Ok(()) => "permit".to_owned(),
                        Err(refusal) => format!("{refusal:?}"),
                    };
                    let Some(got) = got else { continue };
                    // How long to wait is another moment's.
                    let words = |text: &str| text.split(" { retry").next().unwrap_or_default().to_owned();
                    prop_assert_eq!(words(&said), words(&got), "{} {} {:?}: {:?}", method, target, headers, explained);
                    seen.borrow_mut().insert(words(&got).split(' ').next().unwrap_or_default().to_owned());
                }
                Ok(())
            })
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    // A property that only ever met refusals of one kind would show little.
    let seen = seen.into_inner();
    for verdict in [
        "permit",
        "NotFound",
        "MethodNotAllowed",
        "Preflight",
        "RateLimited",
        "InvalidCsrf",
        "CrossSite",
        "TwoCredentials",
        "CredentialRequired",
        "InvalidCredential",
        "NotPermitted",
        "NetworkNotAllowed",
        "SignInTooOld",
        "SignInRequired",
        "Unavailable",
        "UnsupportedVersion",
        "InvalidVersion",
    ] {
        assert!(seen.contains(verdict), "no request met {verdict}: {seen:?}");
    }
}

#[tokio::test]
async fn sr_46_nothing_is_counted_and_no_credential_is_repeated() {
    let routes = vec![route("/api/v1/x", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.limits = own("1/1h");
    })];
    let bed = Bed::start(Setup { routes, api_limit: rate("2/1h"), ..Setup::default() }).await;
    let ada = bed.sign_in("a-secret-token", Role::Developer);
    let headers = [
        ("authorization".to_owned(), "Bearer a-secret-token".to_owned()),
        ("x-csrf-token".to_owned(), "a-secret-csrf".to_owned()),
    ];
    let seen = ada.last_seen.load(Ordering::SeqCst);
    for _ in 0..5 {
        let explained = bed.gate.explain(&rehearsal("GET", "/api/x?_csrf=a-secret-query", &headers)).await;
        assert_eq!(explained.verdict, Ok(()));
        let said = format!("{:?}", explained.steps);
        assert!(!said.contains("a-secret"), "{said}");
        assert!(said.contains("api, 2/3600s by address: 1 left after this one"), "{said}");
        assert!(said.contains(&format!("a bearer token of user {}, DEVELOPER", ada.user_id)), "{said}");
        let phases: Vec<Phase> = explained.steps.iter().map(|step| step.phase).collect();
        assert_eq!(phases, Phase::ALL[1..], "every phase but the first, which only names the request");
    }
    assert_eq!(ada.last_seen.load(Ordering::SeqCst), seen, "asking is no use of the session");
    assert_eq!(bed.gate.streams().count(), 0);
    assert_eq!(bed.get("/api/x").bearer("a-secret-token").refusal().await, "permit", "the one request is still free");
    let explained = bed.gate.explain(&rehearsal("GET", "/api/x", &headers)).await;
    let last = explained.steps.last().expect("a step");
    assert_eq!(last.phase, Phase::CallerLimits);
    assert!(last.notes[0].starts_with("route, 1/3600s by caller: none left for "), "{last:?}");
}

#[tokio::test]
async fn one_can_ask_as_somebody_else_or_as_nobody() {
    let routes = vec![route("/api/v1/x", |policy| {
        policy.auth = AuthRequirement::Required;
        policy.minimum_role = Some(Role::Manager);
    })];
    let bed = Bed::start(Setup { routes, ..Setup::default() }).await;
    let verdict = async |caller| {
        let asked = Rehearsal { caller, ..rehearsal("GET", "/api/x", &[]) };
        format!("{:?}", bed.gate.explain(&asked).await.verdict)
    };
    let somebody = |role| RehearsedCaller::SignedIn(std::sync::Arc::new(session(role)));
    assert_eq!(verdict(somebody(Role::Admin)).await, "Ok(())");
    assert_eq!(verdict(somebody(Role::Viewer)).await, "Err(NotPermitted)");
    assert_eq!(verdict(RehearsedCaller::Nobody).await, "Err(CredentialRequired)");
}

#[tokio::test]
async fn refusals_are_remembered_by_request_id_without_their_secrets() {
    let bed = Bed::start(Setup { api_limit: rate("3/1h"), ..Setup::default() }).await;
    let ada = bed.sign_in("ada", Role::Viewer);
    for _ in 0..3 {
        assert_eq!(bed.get("/api/things/1").refusal().await, "permit");
    }
    let answer = bed.get("/api/things/1?token=secret").bearer("ada").send().await;
    let id = answer.header("x-request-id").expect("an id");
    let kept = bed.gate.refusal_of(id).expect("remembered");
    assert_eq!(
        (kept.phase, &*kept.route, &*kept.path),
        (Phase::AddressLimits, "/api/v1/things/{*rest}", "/api/things/1")
    );
    assert_eq!((kept.client.to_string().as_str(), kept.user), ("127.0.0.1", None), "it was not yet known who called");
    assert!(!format!("{kept:?}").contains("secret"), "{kept:?}");
    assert_eq!(bed.gate.latest_refusals(10).len(), 1, "what was permitted is not there");
    bed.swap(Setup {
        routes: vec![route("/x", |policy| {
            policy.auth = AuthRequirement::Required;
            policy.minimum_role = Some(Role::Admin);
        })],
        ..Setup::default()
    });
    let answer = bed.get("/x").bearer("ada").send().await;
    let kept = bed.gate.refusal_of(answer.header("x-request-id").expect("an id")).expect("remembered");
    assert_eq!((kept.phase, kept.user), (Phase::Authorise, Some(ada.user_id)));
    assert!(bed.gate.refusal_of("00000000000000000000000000000000").is_none());
}
