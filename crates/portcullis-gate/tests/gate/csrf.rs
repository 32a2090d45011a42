//! The token pair: what it is bound to, where it is asked for, and how it is handed out (contract §5).

use portcullis_gate::{CookieName, CsrfMode};
use portcullis_model::policy::{AuthRequirement, CsrfPolicy, Environment};
use portcullis_model::{Role, SessionId};

use crate::bed::{Bed, Setup, csrf_endpoint, route};
use crate::client::Call;
use crate::people::session;

pub(crate) fn setup() -> Setup {
    let checked = route("/api/v1/checked", |policy| policy.csrf = CsrfPolicy::Checked);
    let auth = route("/api/v1/auth/thing", |policy| policy.csrf = CsrfPolicy::ExemptUnlessCookie);
    let refresh = route("/api/v1/auth/refresh", |policy| policy.csrf = CsrfPolicy::ExemptWithOriginCheck);
    let waived = route("/api/v1/waived", |policy| policy.csrf = CsrfPolicy::Exempt);
    let private = route("/api/v1/private", |policy| {
        policy.csrf = CsrfPolicy::Checked;
        policy.auth = AuthRequirement::Required;
    });
    Setup { routes: vec![checked, auth, refresh, waived, private, csrf_endpoint()], ..Setup::default() }
}

/// A pair for somebody who has not signed in: the token and the pre-session.
pub(crate) async fn pair(bed: &Bed) -> (String, String) {
    let answer = bed.get("/api/csrf-token").send().await;
    (answer.line("token").to_owned(), answer.line("pre").to_owned())
}

fn with(call: Call, cookies: &str, token: &str) -> Call {
    call.header("Cookie", cookies).header("X-CSRF-Token", token)
}

async fn reason(call: Call) -> String {
    let refusal = call.refusal().await;
    let reason = refusal.strip_prefix("InvalidCsrf { reason: ").and_then(|rest| rest.split(',').next());
    reason.map_or(refusal.clone(), str::to_owned)
}

/// Both computed with Python: `hmac.new(secret, f"{len(id)}!{id}!64!{rnd}".encode(), hashlib.sha256).hexdigest()`.
const SESSION: &str = "018f4d2a-7c00-7000-8000-0000000000aa";
const SESSION_MAC: &str = "bbb6d8bfd830261464a47db0fa6cc1b748c824cb9b875fdac8aaa387a0ea02ba";
const PRE_MAC: &str = "c499f3353e3bfd90dc23d7ef4ec5348a015d37a7e324806cc3977550f3e40c10";

#[tokio::test]
async fn tokens_made_elsewhere_as_the_contract_says_are_accepted() {
    let bed = Bed::start(setup()).await;
    let (rnd, pre) = ("c0ffee00".repeat(8), "5e".repeat(32));
    let token = format!("{PRE_MAC}.{rnd}");
    let cookies = format!("portcullis-csrf={token}; portcullis-pre={pre}");
    assert_eq!(reason(with(bed.post("/api/checked"), &cookies, &token)).await, "permit");
    let mut known = session(Role::Developer);
    known.id = SESSION.parse::<SessionId>().expect("a UUID");
    let known = bed.sessions.put(known);
    bed.tokens.issue("browser", &known, i64::MAX);
    let token = format!("{SESSION_MAC}.{rnd}");
    let cookies = format!("portcullis-csrf={token}; portcullis-session=browser");
    let call = with(bed.post("/api/checked"), &cookies, &token).header("Origin", &bed.origin());
    assert_eq!(reason(call).await, "permit");
}

#[tokio::test]
async fn unsafe_methods_need_a_token_and_safe_ones_do_not() {
    let bed = Bed::start(setup()).await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
        assert_eq!(reason(bed.call(method, "/api/checked")).await, "NoCookie", "{method}");
    }
    for method in ["GET", "OPTIONS"] {
        assert_eq!(reason(bed.call(method, "/api/checked")).await, "permit", "{method}");
    }
    assert_eq!(bed.call("HEAD", "/api/checked").send().await.status, 200);
}

#[tokio::test]
async fn each_way_a_pair_can_be_wrong_has_its_reason() {
    let bed = Bed::start(setup()).await;
    let ((token, pre), (other, other_pre)) = (pair(&bed).await, pair(&bed).await);
    let csrf = format!("portcullis-csrf={token}");
    let good = format!("{csrf}; portcullis-pre={pre}");
    let call = || bed.post("/api/checked");
    assert_eq!(reason(with(call(), &good, &token)).await, "permit");
    assert_eq!(reason(call().header("X-CSRF-Token", &token)).await, "NoCookie");
    assert_eq!(reason(call().header("Cookie", &good)).await, "NoToken");
    assert_eq!(reason(with(call(), &format!("{good}; {csrf}"), &token)).await, "TwoCookies", "even when equal");
    assert_eq!(reason(with(call(), &good, &token).header("Cookie", &csrf)).await, "TwoCookies");
    assert_eq!(reason(with(call(), &good, &other)).await, "Mismatch");
    assert_eq!(reason(with(call(), &good, "")).await, "Mismatch");
    assert_eq!(reason(with(call(), &good, &token).header("X-CSRF-Token", &token)).await, "Mismatch", "two headers");
    assert_eq!(reason(with(call(), &csrf, &token)).await, "Forged", "no pre-session");
    assert_eq!(reason(with(call(), &format!("{csrf}; portcullis-pre={other_pre}"), &token)).await, "Forged");
    let planted = format!("{good}; portcullis-pre={pre}");
    assert_eq!(reason(with(call(), &planted, &token)).await, "Forged", "two pre-sessions");
    let forged = format!("{}.{}", "0".repeat(64), "0".repeat(64));
    let cookies = format!("portcullis-csrf={forged}; portcullis-pre={pre}");
    assert_eq!(reason(with(call(), &cookies, &forged)).await, "Forged");
    assert_eq!(reason(with(call(), &format!("portcullis-csrf=; portcullis-pre={pre}"), "")).await, "Forged");
}

#[tokio::test]
async fn sr_25_a_pair_is_bound_to_the_session_and_a_sign_in_ends_the_old_one() {
    let bed = Bed::start(setup()).await;
    let (ada, _) = (bed.sign_in("ada", Role::Developer), bed.sign_in("eve", Role::Developer));
    let (old, pre) = pair(&bed).await;
    let by = |session: &str, token: &str| {
        let cookies = format!("portcullis-csrf={token}; portcullis-pre={pre}; portcullis-session={session}");
        with(bed.post("/api/private"), &cookies, token).header("Origin", &bed.origin())
    };
    assert_eq!(reason(by("ada", &old)).await, "Forged", "the pair from before the sign-in");
    let answer = bed.get("/api/csrf-token").cookie("portcullis-session", "ada").send().await;
    let token = answer.line("token");
    assert_eq!(answer.line("pre"), "", "a session needs no pre-session");
    assert_eq!(reason(by("ada", token)).await, "permit");
    assert_eq!(reason(by("eve", token)).await, "Forged", "one person's token is worth nothing to another");
    bed.sessions.end(ada.id);
    assert_eq!(reason(by("ada", token)).await, "Forged", "a session that has ended signs nothing");
}

#[tokio::test]
async fn a_page_that_fetched_its_token_before_the_sign_in_uses_it_with_a_bearer_token() {
    let bed = Bed::start(setup()).await;
    bed.sign_in("ada", Role::Developer);
    let (token, pre) = pair(&bed).await;
    let cookies = format!("portcullis-csrf={token}; portcullis-pre={pre}");
    let answer = with(bed.post("/api/private"), &cookies, &token).bearer("ada").send().await;
    assert!(answer.line("principal").ends_with("Bearer"), "{answer:?}");
    let without = bed.post("/api/private").bearer("ada").send().await;
    assert!(without.refusal().ends_with("bearer_only: true }"), "the hint is for such clients: {without:?}");
    let neither = bed.post("/api/private").send().await;
    assert!(neither.refusal().ends_with("bearer_only: false }"), "{neither:?}");
}

#[tokio::test]
async fn tabs_share_one_token_while_the_pair_is_good() {
    let bed = Bed::start(setup()).await;
    let (token, pre) = pair(&bed).await;
    let fetch = |cookies: String| bed.get("/api/csrf-token").header("Cookie", &cookies).send();
    let again = fetch(format!("portcullis-csrf={token}; portcullis-pre={pre}")).await;
    assert_eq!((again.line("token"), again.line("pre")), (token.as_str(), ""));
    for spoilt in [
        format!("portcullis-pre={pre}"),
        format!("portcullis-csrf={}; portcullis-pre={pre}", "0".repeat(129)),
        format!("portcullis-csrf={token}; portcullis-csrf={token}; portcullis-pre={pre}"),
    ] {
        let fresh = fetch(spoilt.clone()).await;
        assert_eq!(fresh.line("pre"), "", "the pre-session stays: {spoilt}");
        assert_ne!(fresh.line("token"), token, "{spoilt}");
    }
    for strange in ["portcullis-pre=short".to_owned(), format!("portcullis-pre={}", "G".repeat(64)), String::new()] {
        assert_eq!(fetch(strange.clone()).await.line("pre").len(), 64, "a new one: {strange}");
    }
}

#[tokio::test]
async fn exemptions_hold_for_matched_routes_and_not_for_requests_by_cookie() {
    let bed = Bed::start(setup()).await;
    bed.sign_in("ada", Role::Developer);
    for exempt in ["/api/auth/thing", "/api/v1/auth/thing", "/api/auth/refresh", "/api/waived"] {
        assert_eq!(reason(bed.post(exempt)).await, "permit", "{exempt}");
        assert_eq!(reason(bed.post(exempt).bearer("ada")).await, "permit", "{exempt}");
    }
    let by_cookie = |target: &str| bed.post(target).cookie("portcullis-session", "ada").header("Origin", &bed.origin());
    assert_eq!(reason(by_cookie("/api/auth/thing")).await, "NoCookie", "a cookie authenticates this one");
    assert_eq!(reason(by_cookie("/api/auth/refresh")).await, "permit", "refresh apart");
    assert_eq!(reason(by_cookie("/api/waived")).await, "permit");
    let stale = bed.post("/api/auth/thing").cookie("portcullis-session", "garbage");
    assert_eq!(reason(stale).await, "permit", "a cookie that authenticates nobody lifts no exemption");
    assert_eq!(reason(bed.post("/api/auth/../checked")).await, "NoCookie", "the route counts, not the raw path");
    assert_eq!(reason(bed.post("/api/checked?/api/auth/thing")).await, "NoCookie");
}

#[tokio::test]
async fn in_cookie_mode_only_requests_with_the_session_cookie_need_a_token() {
    let bed = Bed::start(Setup { csrf_mode: CsrfMode::Cookie, ..setup() }).await;
    bed.sign_in("ada", Role::Developer);
    assert_eq!(reason(bed.post("/api/checked")).await, "permit");
    assert_eq!(reason(bed.post("/api/private").bearer("ada")).await, "permit");
    let by_cookie = bed.post("/api/private").cookie("portcullis-session", "ada");
    assert_eq!(reason(by_cookie.header("Origin", &bed.origin())).await, "NoCookie");
    let stale = bed.post("/api/private").cookie("portcullis-session", "garbage");
    assert_eq!(reason(stale).await, "NoCookie", "also when the cookie is no longer good");
}

#[tokio::test]
async fn sr_24_in_production_only_cookies_bound_to_the_host_count() {
    let production =
        Setup { environment: Environment::Production, public_url: Some("https://app.example.com"), ..setup() };
    let bed = Bed::start(production).await;
    assert_eq!(bed.gate.cookie_name(CookieName::Csrf), "__Host-portcullis-csrf");
    let (token, pre) = pair(&bed).await;
    let bound = format!("__Host-portcullis-csrf={token}; __Host-portcullis-pre={pre}");
    assert_eq!(reason(with(bed.post("/api/checked"), &bound, &token)).await, "permit");
    let loose = format!("portcullis-csrf={token}; portcullis-pre={pre}");
    assert_eq!(reason(with(bed.post("/api/checked"), &loose, &token)).await, "NoCookie");
    let planted = format!("{bound}; portcullis-csrf=planted");
    assert_eq!(reason(with(bed.post("/api/checked"), &planted, &token)).await, "permit", "a neighbour's is not ours");
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let bed = Bed::start(setup()).await;
    bed.post("/api/checked").send().await;
    bed.post("/api/checked").cookie("portcullis-csrf", "x").send().await;
    let page = bed.metrics.render(false);
    for reason in ["no_cookie", "no_token"] {
        assert!(page.contains(&format!("csrf_refusals_total{{reason=\"{reason}\"}} 1\n")), "{page}");
    }
}

#[tokio::test]
async fn a_gate_that_only_reports_lets_everything_through_and_counts_it_by_reason() {
    let bed = Bed::start(Setup { csrf_mode: CsrfMode::Report, ..setup() }).await;
    assert_eq!(reason(bed.post("/api/checked")).await, "permit");
    let (token, pre) = pair(&bed).await;
    let other = format!("{}.{}", "0".repeat(64), "1".repeat(64));
    assert_eq!(
        reason(with(bed.post("/api/checked"), &format!("portcullis-pre={pre}; portcullis-csrf={token}"), &other)).await,
        "permit"
    );
    let known = bed.sessions.put(session(Role::Developer));
    bed.tokens.issue("browser", &known, i64::MAX);
    let cross =
        bed.post("/api/checked").header("Cookie", "portcullis-session=browser").header("Sec-Fetch-Site", "cross-site");
    assert_eq!(reason(cross).await, "permit");
    let page = bed.metrics.render(false);
    for (why, times) in [("no_cookie", 2), ("mismatch", 1), ("cross_site", 1)] {
        assert!(page.contains(&format!("csrf_reports_total{{reason=\"{why}\"}} {times}")), "{why}: {page}");
    }
    assert!(!page.contains("csrf_refusals_total{"), "nothing was refused");
}
