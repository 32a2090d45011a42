//! The CSRF token pair: what it is bound to, where it is needed, and how it is issued (docs/contract.md, "CSRF").

use portcullis_gate::{CookieName, CsrfMode};
use portcullis_model::policy::{AuthRequirement, CsrfPolicy, Environment};
use portcullis_model::{Role, SessionId};
use portcullis_testkit::session;

use crate::client::{Call, Reply};
use crate::test_gate::{TestConfig, TestGate, csrf_endpoint, route, route_for};

/// A configuration with a route for each CSRF policy.
pub(crate) fn config() -> TestConfig {
    let with = |template, csrf| route(template, move |policy| policy.csrf = csrf);
    let private = route("/api/v1/private", |policy| {
        policy.csrf = CsrfPolicy::Checked;
        policy.auth = AuthRequirement::Required;
    });
    let routes = vec![
        with("/api/v1/checked", CsrfPolicy::Checked),
        with("/api/v1/auth/thing", CsrfPolicy::ExemptUnlessCookie),
        with("/api/v1/auth/refresh", CsrfPolicy::ExemptWithOriginCheck),
        with("/api/v1/waived", CsrfPolicy::Exempt),
        route_for(&["PURGE"], "/api/v1/purged", |policy| policy.csrf = CsrfPolicy::Checked),
        private,
        csrf_endpoint(),
    ];
    TestConfig { routes, ..TestConfig::default() }
}

async fn gate() -> TestGate {
    TestGate::start(config()).await
}

/// A token, and the pre-session that it is bound to.
pub(crate) struct Pair {
    pub(crate) token: String,
    pub(crate) pre: String,
}

impl Pair {
    /// Fetches a pair without a session.
    pub(crate) async fn fetch(gate: &TestGate) -> Self {
        let reply = gate.get("/api/csrf-token").send().await;
        Self { token: reply.line("token").to_owned(), pre: reply.line("pre").to_owned() }
    }

    pub(crate) fn cookies(&self) -> String {
        format!("portcullis-csrf={}; portcullis-pre={}", self.token, self.pre)
    }
}

fn with(call: Call, cookies: &str, token: &str) -> Call {
    call.header("Cookie", cookies).header("X-CSRF-Token", token)
}

/// Returns the reason of a CSRF refusal, or any other verdict.
async fn reason(call: Call) -> String {
    let verdict = call.verdict().await;
    let reason = verdict.strip_prefix("InvalidCsrf { reason: ").and_then(|rest| rest.split(',').next());
    reason.map_or(verdict.clone(), str::to_owned)
}

/// Both computed with Python: `hmac.new(secret, f"{len(id)}!{id}!64!{rnd}".encode(), hashlib.sha256).hexdigest()`.
const SESSION: &str = "018f4d2a-7c00-7000-8000-0000000000aa";
const SESSION_MAC: &str = "bbb6d8bfd830261464a47db0fa6cc1b748c824cb9b875fdac8aaa387a0ea02ba";
const PRE_MAC: &str = "c499f3353e3bfd90dc23d7ef4ec5348a015d37a7e324806cc3977550f3e40c10";

#[tokio::test]
async fn a_token_made_elsewhere_for_a_pre_session_is_valid() {
    let gate = gate().await;
    let (rnd, pre) = ("c0ffee00".repeat(8), "5e".repeat(32));
    let pair = Pair { token: format!("{PRE_MAC}.{rnd}"), pre };
    assert_eq!(reason(with(gate.post("/api/checked"), &pair.cookies(), &pair.token)).await, "permit");
}

#[tokio::test]
async fn a_token_made_elsewhere_for_a_session_is_valid() {
    let gate = gate().await;
    gate.sign_in_as("browser", session().id(SESSION.parse::<SessionId>().expect("a UUID")));
    let token = format!("{SESSION_MAC}.{}", "c0ffee00".repeat(8));
    let cookies = format!("portcullis-csrf={token}; portcullis-session=browser");
    let call = with(gate.post("/api/checked"), &cookies, &token).header("Origin", &gate.origin());
    assert_eq!(reason(call).await, "permit");
}

#[tokio::test]
async fn unsafe_methods_need_a_token_and_safe_ones_do_not() {
    let gate = gate().await;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(reason(gate.call(method, "/api/checked")).await, "NoCookie", "{method}");
    }
    assert_eq!(reason(gate.call("PURGE", "/api/purged")).await, "NoCookie", "a method that the route names");
    for method in ["GET", "OPTIONS"] {
        assert_eq!(reason(gate.call(method, "/api/checked")).await, "permit", "{method}");
    }
    assert_eq!(gate.call("HEAD", "/api/checked").send().await.status, 200);
}

#[tokio::test]
async fn a_valid_pair_is_permitted() {
    let gate = gate().await;
    let pair = Pair::fetch(&gate).await;
    assert_eq!(reason(with(gate.post("/api/checked"), &pair.cookies(), &pair.token)).await, "permit");
}

#[tokio::test]
async fn half_a_pair_is_refused() {
    let gate = gate().await;
    let pair = Pair::fetch(&gate).await;
    assert_eq!(reason(gate.post("/api/checked").header("X-CSRF-Token", &pair.token)).await, "NoCookie");
    assert_eq!(reason(gate.post("/api/checked").header("Cookie", &pair.cookies())).await, "NoToken");
}

#[tokio::test]
async fn two_csrf_cookies_are_refused_even_if_they_are_equal() {
    let gate = gate().await;
    let pair = Pair::fetch(&gate).await;
    let csrf = format!("portcullis-csrf={}", pair.token);
    let in_one_line = format!("{}; {csrf}", pair.cookies());
    assert_eq!(reason(with(gate.post("/api/checked"), &in_one_line, &pair.token)).await, "TwoCookies");
    let in_two_lines = with(gate.post("/api/checked"), &pair.cookies(), &pair.token).header("Cookie", &csrf);
    assert_eq!(reason(in_two_lines).await, "TwoCookies");
}

#[tokio::test]
async fn a_token_that_differs_from_the_cookie_is_a_mismatch() {
    let gate = gate().await;
    let (pair, other) = (Pair::fetch(&gate).await, Pair::fetch(&gate).await);
    let call = |token: &str| with(gate.post("/api/checked"), &pair.cookies(), token);
    assert_eq!(reason(call(&other.token)).await, "Mismatch");
    assert_eq!(reason(call("")).await, "Mismatch");
    assert_eq!(reason(call(&pair.token).header("X-CSRF-Token", &pair.token)).await, "Mismatch", "two headers");
}

#[tokio::test]
async fn a_token_that_was_not_signed_for_this_client_is_forged() {
    let gate = gate().await;
    let (pair, other) = (Pair::fetch(&gate).await, Pair::fetch(&gate).await);
    let csrf = format!("portcullis-csrf={}", pair.token);
    let zeros = format!("{}.{}", "0".repeat(64), "0".repeat(64));
    for (what, cookies, token) in [
        ("no pre-session", csrf.clone(), pair.token.as_str()),
        ("another client's pre-session", format!("{csrf}; portcullis-pre={}", other.pre), &pair.token),
        ("two pre-sessions", format!("{}; portcullis-pre={}", pair.cookies(), pair.pre), &pair.token),
        ("an invented token", format!("portcullis-csrf={zeros}; portcullis-pre={}", pair.pre), &zeros),
        ("an empty pair", format!("portcullis-csrf=; portcullis-pre={}", pair.pre), ""),
    ] {
        assert_eq!(reason(with(gate.post("/api/checked"), &cookies, token)).await, "Forged", "{what}");
    }
}

/// A request by the session cookie, with a pair of that token.
fn by_session(gate: &TestGate, session: &str, token: &str) -> Call {
    let cookies = format!("portcullis-csrf={token}; portcullis-session={session}");
    with(gate.post("/api/private"), &cookies, token).header("Origin", &gate.origin())
}

async fn session_token(gate: &TestGate, session: &str) -> String {
    let reply = gate.get("/api/csrf-token").cookie("portcullis-session", session).send().await;
    assert_eq!(reply.line("pre"), "", "a session needs no pre-session");
    reply.line("token").to_owned()
}

#[tokio::test]
async fn sr_25_a_sign_in_invalidates_the_pair_from_before_it() {
    let gate = gate().await;
    gate.sign_in("ada", Role::Developer);
    let pair = Pair::fetch(&gate).await;
    let call = by_session(&gate, "ada", &pair.token).header("Cookie", &format!("portcullis-pre={}", pair.pre));
    assert_eq!(reason(call).await, "Forged");
}

#[tokio::test]
async fn sr_25_a_token_is_valid_for_its_own_session_only() {
    let gate = gate().await;
    gate.sign_in("ada", Role::Developer);
    gate.sign_in("eve", Role::Developer);
    let token = session_token(&gate, "ada").await;
    assert_eq!(reason(by_session(&gate, "ada", &token)).await, "permit");
    assert_eq!(reason(by_session(&gate, "eve", &token)).await, "Forged");
}

#[tokio::test]
async fn sr_25_the_token_of_an_ended_session_is_forged() {
    let gate = gate().await;
    let ada = gate.sign_in("ada", Role::Developer);
    let token = session_token(&gate, "ada").await;
    gate.sessions.end(ada.id);
    assert_eq!(reason(by_session(&gate, "ada", &token)).await, "Forged");
}

#[tokio::test]
async fn a_pair_from_before_the_sign_in_works_with_a_bearer_token() {
    let gate = gate().await;
    gate.sign_in("ada", Role::Developer);
    let pair = Pair::fetch(&gate).await;
    let reply = with(gate.post("/api/private"), &pair.cookies(), &pair.token).bearer("ada").send().await;
    assert!(reply.line("principal").ends_with("Bearer"), "{reply:?}");
}

#[tokio::test]
async fn a_refusal_tells_whether_the_client_sends_only_a_bearer_token() {
    let gate = gate().await;
    gate.sign_in("ada", Role::Developer);
    let with_bearer = gate.post("/api/private").bearer("ada").verdict().await;
    assert!(with_bearer.ends_with("bearer_only: true }"), "{with_bearer}");
    let without = gate.post("/api/private").verdict().await;
    assert!(without.ends_with("bearer_only: false }"), "{without}");
}

async fn fetch_with(gate: &TestGate, cookies: &str) -> Reply {
    gate.get("/api/csrf-token").header("Cookie", cookies).send().await
}

#[tokio::test]
async fn tabs_share_one_token_while_the_pair_is_valid() {
    let gate = gate().await;
    let pair = Pair::fetch(&gate).await;
    let again = fetch_with(&gate, &pair.cookies()).await;
    assert_eq!((again.line("token"), again.line("pre")), (pair.token.as_str(), ""));
}

#[tokio::test]
async fn an_invalid_token_is_replaced_and_the_pre_session_stays() {
    let gate = gate().await;
    let pair = Pair::fetch(&gate).await;
    for cookies in [
        format!("portcullis-pre={}", pair.pre),
        format!("portcullis-csrf={}; portcullis-pre={}", "0".repeat(129), pair.pre),
        format!("portcullis-csrf={}; {}", pair.token, pair.cookies()),
    ] {
        let fresh = fetch_with(&gate, &cookies).await;
        assert_eq!(fresh.line("pre"), "", "{cookies}");
        assert_ne!(fresh.line("token"), pair.token, "{cookies}");
    }
}

#[tokio::test]
async fn an_invalid_pre_session_is_replaced() {
    let gate = gate().await;
    for cookies in ["portcullis-pre=short", &format!("portcullis-pre={}", "G".repeat(64)), ""] {
        assert_eq!(fetch_with(&gate, cookies).await.line("pre").len(), 64, "{cookies}");
    }
}

#[tokio::test]
async fn exempt_routes_need_no_token() {
    let gate = gate().await;
    gate.sign_in("ada", Role::Developer);
    for exempt in ["/api/auth/thing", "/api/v1/auth/thing", "/api/auth/refresh", "/api/waived"] {
        assert_eq!(reason(gate.post(exempt)).await, "permit", "{exempt}");
        assert_eq!(reason(gate.post(exempt).bearer("ada")).await, "permit", "{exempt}");
    }
}

#[tokio::test]
async fn a_valid_session_cookie_lifts_the_exemption_of_auth_routes() {
    let gate = gate().await;
    gate.sign_in("ada", Role::Developer);
    for (target, expected) in
        [("/api/auth/thing", "NoCookie"), ("/api/auth/refresh", "permit"), ("/api/waived", "permit")]
    {
        let call = gate.post(target).cookie("portcullis-session", "ada").header("Origin", &gate.origin());
        assert_eq!(reason(call).await, expected, "{target}");
    }
    let invalid = gate.post("/api/auth/thing").cookie("portcullis-session", "garbage");
    assert_eq!(reason(invalid).await, "permit", "an invalid cookie lifts nothing");
}

#[tokio::test]
async fn an_exemption_belongs_to_the_route_and_not_to_the_raw_path() {
    let gate = gate().await;
    assert_eq!(reason(gate.post("/api/auth/../checked")).await, "NoCookie");
    assert_eq!(reason(gate.post("/api/checked?/api/auth/thing")).await, "NoCookie");
}

#[tokio::test]
async fn in_cookie_mode_only_the_session_cookie_needs_a_token() {
    let gate = TestGate::start(TestConfig { csrf_mode: CsrfMode::Cookie, ..config() }).await;
    gate.sign_in("ada", Role::Developer);
    assert_eq!(reason(gate.post("/api/checked")).await, "permit");
    assert_eq!(reason(gate.post("/api/private").bearer("ada")).await, "permit");
    let by_cookie = gate.post("/api/private").cookie("portcullis-session", "ada").header("Origin", &gate.origin());
    assert_eq!(reason(by_cookie).await, "NoCookie");
    let invalid = gate.post("/api/private").cookie("portcullis-session", "garbage");
    assert_eq!(reason(invalid).await, "NoCookie", "an invalid cookie too");
}

async fn production() -> TestGate {
    let (environment, public_url) = (Environment::Production, Some("https://app.example.com"));
    TestGate::start(TestConfig { environment, public_url, ..config() }).await
}

#[tokio::test]
async fn sr_24_in_production_only_cookies_bound_to_the_host_count() {
    let gate = production().await;
    assert_eq!(gate.inner.cookie_name(CookieName::Csrf), "__Host-portcullis-csrf");
    let Pair { token, pre } = Pair::fetch(&gate).await;
    let bound = format!("__Host-portcullis-csrf={token}; __Host-portcullis-pre={pre}");
    assert_eq!(reason(with(gate.post("/api/checked"), &bound, &token)).await, "permit");
    let unbound = format!("portcullis-csrf={token}; portcullis-pre={pre}");
    assert_eq!(reason(with(gate.post("/api/checked"), &unbound, &token)).await, "NoCookie");
}

#[tokio::test]
async fn sr_24_in_production_a_planted_cookie_does_not_count() {
    let gate = production().await;
    let Pair { token, pre } = Pair::fetch(&gate).await;
    let planted = format!("__Host-portcullis-csrf={token}; __Host-portcullis-pre={pre}; portcullis-csrf=planted");
    assert_eq!(reason(with(gate.post("/api/checked"), &planted, &token)).await, "permit");
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let gate = gate().await;
    gate.post("/api/checked").send().await;
    gate.post("/api/checked").cookie("portcullis-csrf", "x").send().await;
    gate.assert_metric("csrf_refusals_total{reason=\"no_cookie\"} 1");
    gate.assert_metric("csrf_refusals_total{reason=\"no_token\"} 1");
}

#[tokio::test]
async fn report_mode_permits_and_counts_by_reason() {
    let gate = TestGate::start(TestConfig { csrf_mode: CsrfMode::Report, ..config() }).await;
    let (pair, other) = (Pair::fetch(&gate).await, format!("{}.{}", "0".repeat(64), "1".repeat(64)));
    gate.sign_in("browser", Role::Developer);
    let cross_site = gate.post("/api/checked").cookie("portcullis-session", "browser");
    for call in [
        gate.post("/api/checked"),
        with(gate.post("/api/checked"), &pair.cookies(), &other),
        cross_site.header("Sec-Fetch-Site", "cross-site"),
    ] {
        assert_eq!(reason(call).await, "permit");
    }
    // The last request lacks both the site and the cookie, so it is counted for each.
    gate.assert_metric("csrf_reports_total{reason=\"no_cookie\"} 2");
    gate.assert_metric("csrf_reports_total{reason=\"mismatch\"} 1");
    gate.assert_metric("csrf_reports_total{reason=\"cross_site\"} 1");
    let page = gate.metrics_page();
    let refusals = page.lines().filter(|line| line.starts_with("csrf_refusals_total{"));
    assert!(refusals.clone().count() > 0 && refusals.clone().all(|line| line.ends_with(" 0")), "nothing was refused");
}
