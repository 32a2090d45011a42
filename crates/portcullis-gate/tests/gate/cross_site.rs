//! Requests by cookie must come from a page of ours (requirement 27, contract §5).

use portcullis_model::Role;
use portcullis_model::policy::{CsrfPolicy, Environment};

use crate::bed::{Bed, Setup, route};
use crate::client::Call;
use crate::csrf;

const ALLOWED: &str = "https://partner.example";

async fn by_cookie(bed: &Bed, target: &str) -> impl Fn(&[(&str, &str)]) -> Call {
    let token = bed.get("/api/csrf-token").cookie("portcullis-session", "ada").send().await.line("token").to_owned();
    let call = bed
        .post(target)
        .header("Cookie", &format!("portcullis-session=ada; portcullis-csrf={token}"))
        .header("X-CSRF-Token", &token);
    move |headers| headers.iter().fold(call.clone(), |call, (name, value)| call.header(name, value))
}

async fn signed_in(setup: Setup) -> Bed {
    let bed = Bed::start(setup).await;
    bed.sign_in("ada", Role::Developer);
    bed
}

#[tokio::test]
async fn sr_27_fetch_metadata_then_origin_then_referer_decide_and_none_of_them_is_a_refusal() {
    let bed = signed_in(Setup { origins: vec![ALLOWED], ..csrf::setup() }).await;
    let ours = bed.origin();
    let (page, look_alike, allowed_page) =
        (format!("{ours}/page?x"), format!("{ours}.evil.example/"), format!("{ALLOWED}/page"));
    let send = by_cookie(&bed, "/api/private").await;
    for headers in [
        &[("Sec-Fetch-Site", "same-origin")][..],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", &ours)],
        &[("Origin", &ours), ("Sec-Fetch-Site", "same-origin")],
        &[("Referer", &page)],
        &[("Origin", ALLOWED)],
        &[("Origin", ALLOWED), ("Sec-Fetch-Site", "cross-site")],
        &[("Referer", &allowed_page)],
    ] {
        assert_eq!(send(headers).refusal().await, "permit", "{headers:?}");
    }
    for headers in [
        &[][..],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "Same-Origin")],
        &[("Sec-Fetch-Site", "nonsense")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", &ours)],
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Origin", "")],
        &[("Origin", "https://evil.example"), ("Referer", &page)],
        &[("Origin", &look_alike)],
        &[("Origin", &ours), ("Origin", "https://evil.example")],
        &[("Origin", "https://partner.example.evil"), ("Sec-Fetch-Site", "cross-site")],
        &[("Referer", &look_alike)],
        &[("Referer", "not a URL")],
        &[("Referer", "about:blank")],
    ] {
        assert_eq!(send(headers).refusal().await, "CrossSite", "{headers:?}");
    }
}

#[tokio::test]
async fn sr_27_a_route_without_csrf_tokens_still_refuses_another_sites_cookie() {
    let bed = signed_in(csrf::setup()).await;
    for target in ["/api/waived", "/api/auth/thing", "/api/private"] {
        let evil = by_cookie(&bed, target).await(&[("Origin", "https://evil.example")]);
        assert_eq!(evil.refusal().await, "CrossSite", "{target}");
    }
    let refresh = by_cookie(&bed, "/api/auth/refresh").await(&[("Origin", "https://evil.example")]).send().await;
    assert_eq!(refresh.refusal(), "permit", "its handler asks for an Origin of ours");
    assert_eq!(refresh.line("origin-allowed"), "false");
}

#[tokio::test]
async fn only_cookies_that_authenticate_are_asked_where_they_come_from() {
    let bed = signed_in(csrf::setup()).await;
    let evil = |call: Call| call.header("Origin", "https://evil.example").header("Sec-Fetch-Site", "cross-site");
    assert_eq!(evil(bed.post("/api/waived")).refusal().await, "permit");
    assert_eq!(evil(bed.post("/api/waived").bearer("ada")).refusal().await, "permit");
    assert_eq!(evil(bed.post("/api/waived").cookie("portcullis-session", "garbage")).refusal().await, "permit");
    assert_eq!(evil(bed.get("/api/private").cookie("portcullis-session", "ada")).refusal().await, "permit", "a GET");
}

#[tokio::test]
async fn with_a_public_url_the_host_of_the_request_proves_nothing() {
    let setup = Setup { public_url: Some("https://app.example.com/base"), ..csrf::setup() };
    let bed = signed_in(setup).await;
    let send = by_cookie(&bed, "/api/private").await;
    assert_eq!(send(&[("Origin", "https://app.example.com")]).refusal().await, "permit");
    assert_eq!(send(&[("Referer", "https://app.example.com/page")]).refusal().await, "permit");
    for other in [bed.origin().as_str(), "http://app.example.com", "https://app.example.com:8443"] {
        assert_eq!(send(&[("Origin", other)]).refusal().await, "CrossSite", "{other}");
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_our_origin_is_the_one_the_client_asked_for() {
    let setup = Setup { trusted_proxies: vec!["127.0.0.1/32"], ..csrf::setup() };
    let bed = signed_in(setup).await;
    let send = by_cookie(&bed, "/api/private").await;
    let proxied = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "app.example.com")];
    let with = |origin| [proxied[0], proxied[1], ("Origin", origin)];
    assert_eq!(send(&with("https://app.example.com")).refusal().await, "permit");
    assert_eq!(send(&with("http://app.example.com")).refusal().await, "CrossSite");
    let stranger = signed_in(csrf::setup()).await;
    let send = by_cookie(&stranger, "/api/private").await;
    assert_eq!(send(&with("https://app.example.com")).refusal().await, "CrossSite", "from a peer nobody trusts");
}

#[tokio::test]
async fn a_sign_in_by_cookie_can_ask_whether_its_origin_is_allowed() {
    let login = route("/api/v1/auth/login", |policy| policy.csrf = CsrfPolicy::ExemptUnlessCookie);
    let setup = || Setup {
        routes: vec![login.clone()],
        origins: vec![ALLOWED],
        public_url: Some("https://app.example.com"),
        ..Setup::default()
    };
    let production = Setup { environment: Environment::Production, ..setup() };
    for setup in [setup(), production] {
        let bed = Bed::start(setup).await;
        for (origin, allowed) in [
            (Some("https://app.example.com"), "true"),
            (Some(ALLOWED), "true"),
            (Some("https://evil.example"), "false"),
            (Some("null"), "false"),
            (None, "false"),
        ] {
            let call = bed.post("/api/auth/login").header("Sec-Fetch-Site", "same-origin");
            let call = origin.map_or(call.clone(), |origin| call.header("Origin", origin));
            assert_eq!(call.send().await.line("origin-allowed"), allowed, "{origin:?}");
        }
    }
}
