//! A property: a dry run gives the verdict that the request itself gets (SR-46).

use std::time::Duration;

use portcullis_gate::{CsrfMode, Verdict};
use portcullis_model::policy::{AuthRequirement, BodyLimit, CsrfPolicy, LimitClass, RoutePolicy};
use portcullis_model::{ApiKeyScopes, Limit, LimitBy, Multipliers, Permission, Role};
use portcullis_testkit::session;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::dry_run::dry_run;
use crate::test_gate::{TestConfig, TestGate, by_caller, csrf_endpoint, rate, route, route_for};

/// Returns the samples of the metrics that requests are counted in.
fn counted(gate: &TestGate) -> Vec<String> {
    gate.metrics_page().lines().filter(|line| !line.contains("process_")).map(str::to_owned).collect()
}

/// Generates the policy of a route, from a few choices for each requirement.
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
        by_caller("1/1h"),
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

/// A request: method, target, headers, and whether an API key is added.
type Generated = (&'static str, &'static str, Vec<(String, String)>, bool);

fn requests() -> impl Strategy<Value = Vec<Generated>> {
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
    prop::collection::vec((method, target, headers(), any::<bool>()), 1..8)
}

/// A gate with three routes and three users.
async fn gate_with((a, b, c): (RoutePolicy, RoutePolicy, RoutePolicy), csrf_mode: CsrfMode) -> TestGate {
    let gate = TestGate::start(TestConfig {
        routes: vec![
            route("/api/v1/a/{*rest}", move |policy| *policy = a),
            route_for(&["GET", "POST"], "/b", move |policy| *policy = b),
            route("/api/v2/c", move |policy| *policy = c),
            csrf_endpoint(),
        ],
        versions: vec![portcullis_gate::Version::current("v2")],
        origins: vec!["https://app.example.com"],
        trusted_proxies: vec!["127.0.0.0/8", "10.0.0.0/24"],
        api_limit: rate("5/1h"),
        writes_limit: rate("2/1h").map(|rate| Limit::new("writes", rate, LimitBy::Caller)),
        csrf_mode,
        ..TestConfig::default()
    })
    .await;
    gate.sign_in_as("ada", session().authenticated_at(gate.clock.unix_seconds()));
    gate.sign_in_as("old", session().role(Role::Viewer).unconfirmed_email().authenticated_at(0));
    gate.sign_in("root", Role::Admin);
    gate
}

/// The verdict of a dry run and then of the request itself. The latter is not told in the response to a HEAD.
async fn verdicts(gate: &TestGate, request: &Generated) -> Result<(String, Option<String>), TestCaseError> {
    let (method, target, headers, _) = request;
    let before = counted(gate);
    let explained = gate.inner.explain(&dry_run(method, target, headers)).await;
    gate.inner.explain(&dry_run(method, target, headers)).await;
    prop_assert_eq!(before, counted(gate), "a dry run is not counted");
    let mut call = gate.call(method, target);
    for (name, value) in headers {
        call = call.header(name, value);
    }
    let got = call.send().await;
    let got = if *method == "HEAD" { None } else { Some(got.verdict().to_owned()) };
    let explained = match &explained.verdict {
        Verdict::Permitted(()) => "permit".to_owned(),
        Verdict::Preflight => "preflight".to_owned(),
        Verdict::Refused(refusal) => format!("{refusal:?}"),
    };
    Ok((explained, got))
}

/// A verdict without the time to wait, which is another one a moment later.
fn words(verdict: &str) -> &str {
    verdict.split(" { retry").next().unwrap_or_default()
}

/// The property shows little unless the requests meet every kind of verdict.
const KINDS: [&str; 17] = [
    "permit",
    "NotFound",
    "MethodNotAllowed",
    "preflight",
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
];

/// For three routes with generated policies, an API key, three users, and generated requests: the dry run and the
/// request get the same verdict, and the dry run changes nothing.
#[test]
fn sr_46_a_dry_run_gives_the_verdict_of_the_request() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cases = ((policies(), policies(), policies()), requests(), any::<(bool, bool)>());
    let mut runner = TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    let seen = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let outcome = runner.run(&cases, |(routes, requests, (behind, report))| {
        runtime.block_on(async {
            let gate = gate_with(routes, if report { CsrfMode::Report } else { CsrfMode::Always }).await;
            let key = gate.api_key(ApiKeyScopes::All);
            gate.sessions.set_behind(behind);
            for mut request in requests {
                if request.3 {
                    request.2.push(("x-api-key".to_owned(), key.clone()));
                }
                let (explained, got) = verdicts(&gate, &request).await?;
                let Some(got) = got else { continue };
                prop_assert_eq!(words(&explained), words(&got), "{:?}", request);
                seen.borrow_mut().insert(words(&got).split(' ').next().unwrap_or_default().to_owned());
            }
            Ok(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let seen = seen.into_inner();
    for verdict in KINDS {
        assert!(seen.contains(verdict), "no request got {verdict}: {seen:?}");
    }
}
