//! Rate limits and what answers say of them (contract §6).

use std::time::Duration;

use portcullis_gate::Whom;
use portcullis_model::policy::LimitClass;
use portcullis_model::{ApiKeyScopes, Limit, LimitBy, Multipliers, Role};

use crate::bed::{Bed, Setup, own, rate, route};
use crate::client::Call;

fn setup() -> Setup {
    let class = |template, class| route(template, move |policy| policy.limit_class = class);
    let own = route("/api/v1/own", |policy| policy.limits = own("2/1m"));
    Setup {
        routes: vec![
            class("/api/v1/login", LimitClass::Auth),
            class("/api/v1/things", LimitClass::Api),
            class("/api/v1/health", LimitClass::Exempt),
            own,
        ],
        auth_limit: rate("3/1m"),
        api_limit: rate("10/1m"),
        ..Setup::default()
    }
}

#[tokio::test]
async fn exactly_the_burst_passes_however_many_come_at_once() {
    let bed = Bed::start(Setup { api_limit: rate("30/1h"), ..setup() }).await;
    // Fewer than a listener's backlog of 128, so that the kernel drops none of them.
    let calls = (0..100).map(|_| bed.get("/api/things").refusal());
    let verdicts = futures_util::future::join_all(calls).await;
    assert_eq!(verdicts.iter().filter(|verdict| *verdict == "permit").count(), 30);
    assert_eq!(verdicts.iter().filter(|verdict| verdict.starts_with("RateLimited")).count(), 70);
    let page = bed.metrics.render(false);
    assert!(page.contains("rate_limited_total{limit=\"api\"} 70\n"), "{page}");
}

#[tokio::test]
async fn answers_say_what_is_left_and_when_to_come_back() {
    let bed = Bed::start(setup()).await;
    for left in ["2", "1", "0"] {
        let answer = bed.get("/api/login").send().await;
        assert_eq!(answer.refusal(), "permit");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"auth\";q=3;w=60"));
        assert_eq!(
            (answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")),
            (Some("3"), Some(left))
        );
        assert!(answer.header("ratelimit").is_some_and(|text| text.starts_with(&format!("\"auth\";r={left};t="))));
        assert_eq!(answer.header("retry-after"), None);
    }
    let now = bed.clock.unix_seconds();
    let refused = bed.get("/api/login").send().await;
    assert!(refused.refusal().starts_with("RateLimited"));
    let wait: u64 = refused.header("retry-after").expect("when").parse().expect("seconds");
    assert!((1..=20).contains(&wait), "{wait}");
    let reset: i64 = refused.header("x-ratelimit-reset").expect("when").parse().expect("a Unix time");
    assert!((now + 40..=now + 62).contains(&reset), "{}", reset - now);
    bed.clock.advance(Duration::from_secs(wait));
    assert_eq!(bed.get("/api/login").refusal().await, "permit", "who waits as told is let in");
    assert!(bed.get("/api/login").refusal().await.starts_with("RateLimited"), "and one only");
}

#[tokio::test]
async fn each_class_counts_for_itself_and_health_counts_nowhere() {
    let bed = Bed::start(setup()).await;
    for _ in 0..4 {
        bed.get("/api/login").send().await;
    }
    assert!(bed.get("/api/v1/login").refusal().await.starts_with("RateLimited"), "an alias is the same route");
    assert_eq!(bed.get("/api/things").refusal().await, "permit");
    for _ in 0..20 {
        let answer = bed.get("/api/health").send().await;
        assert_eq!((answer.refusal(), answer.header("x-ratelimit-limit")), ("permit", None));
    }
    for _ in 0..20 {
        assert_eq!(bed.get("/nowhere").send().await.header("x-ratelimit-limit"), None);
    }
}

#[tokio::test]
async fn a_routes_own_limit_counts_by_person_and_without_one_by_address() {
    let bed = Bed::start(setup()).await;
    bed.sign_in("ada", Role::Developer);
    bed.sign_in("grace", Role::Developer);
    let ada_elsewhere = bed.sign_in("ada-elsewhere", Role::Developer);
    for token in ["ada", "grace"] {
        for _ in 0..2 {
            assert_eq!(bed.get("/api/own").bearer(token).refusal().await, "permit", "{token}");
        }
        assert!(bed.get("/api/own").bearer(token).refusal().await.starts_with("RateLimited"), "{token}");
    }
    assert_eq!(bed.get("/api/own").bearer("ada-elsewhere").refusal().await, "permit", "{}", ada_elsewhere.user_id);
    assert_eq!(bed.get("/api/own").refusal().await, "permit");
    assert_eq!(bed.get("/api/own").bearer("garbage").refusal().await, "permit", "counted with the address");
    let third = bed.get("/api/own").bearer("another garbage").send().await;
    assert!(third.refusal().starts_with("RateLimited"), "an invented token buys no fresh limit");
    assert_eq!(third.header("ratelimit-policy"), Some("\"route\";q=2;w=60"));
}

#[tokio::test]
async fn two_sessions_of_one_person_share_that_persons_limit() {
    let bed = Bed::start(setup()).await;
    let first = bed.sign_in("first", Role::Developer);
    let mut second = crate::people::session(Role::Developer);
    second.user_id = first.user_id;
    let second = bed.sessions.put(second);
    bed.tokens.issue("second", &second, i64::MAX);
    assert_eq!(bed.get("/api/own").bearer("first").refusal().await, "permit");
    assert_eq!(bed.get("/api/own").bearer("second").refusal().await, "permit");
    assert!(bed.get("/api/own").bearer("first").refusal().await.starts_with("RateLimited"));
}

#[tokio::test]
async fn limits_count_the_client_and_not_the_proxy_before_us() {
    let bed = Bed::start(Setup { trusted_proxies: vec!["127.0.0.1/32"], ..setup() }).await;
    let from = |client: &str| bed.get("/api/login").header("X-Forwarded-For", client).refusal();
    for _ in 0..3 {
        assert_eq!(from("203.0.113.1").await, "permit");
    }
    assert!(from("203.0.113.1").await.starts_with("RateLimited"));
    assert!(from("6.6.6.6, 203.0.113.1").await.starts_with("RateLimited"), "what a client adds changes nothing");
    assert_eq!(from("203.0.113.2").await, "permit");
    for client in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:ffff:ffff"] {
        assert_eq!(from(client).await, "permit");
    }
    assert!(from("2001:db8::3").await.starts_with("RateLimited"), "one /64 is one customer");
}

#[tokio::test]
async fn the_tighter_of_two_limits_is_the_one_answers_tell_of() {
    let bed = Bed::start(setup()).await;
    let answer = bed.get("/api/own").send().await;
    assert_eq!(answer.header("x-ratelimit-limit"), Some("2"));
    let bed = Bed::start(Setup { api_limit: rate("1/1m"), ..setup() }).await;
    assert_eq!(bed.get("/api/own").send().await.header("x-ratelimit-limit"), Some("1"));
}

#[tokio::test]
async fn without_defaults_only_a_routes_own_limit_holds() {
    let bed = Bed::start(Setup { auth_limit: None, api_limit: None, ..setup() }).await;
    for _ in 0..20 {
        assert_eq!(bed.get("/api/login").refusal().await, "permit");
    }
    for _ in 0..2 {
        assert_eq!(bed.get("/api/own").refusal().await, "permit");
    }
    assert!(bed.get("/api/own").refusal().await.starts_with("RateLimited"));
}

#[tokio::test]
async fn a_limit_counts_whom_it_says() {
    let limited = |template, by| {
        route(template, move |policy| policy.limits = vec![Limit::new("own", rate("1/1h").expect("on"), by)])
    };
    let routes = vec![
        limited("/everybody", LimitBy::Everybody),
        limited("/role", LimitBy::Role),
        limited("/header", LimitBy::Header("x-tenant".into())),
        limited("/key", LimitBy::ApiKey),
    ];
    let bed = Bed::start(Setup { routes, trusted_proxies: vec!["127.0.0.1/32"], ..Setup::default() }).await;
    for (token, role) in [("ada", Role::Developer), ("grace", Role::Developer), ("alan", Role::Viewer)] {
        bed.sign_in(token, role);
    }
    let passes = async |call: Call| call.refusal().await == "permit";
    assert!(passes(bed.get("/everybody")).await);
    assert!(!passes(bed.get("/everybody").header("X-Forwarded-For", "203.0.113.9")).await, "everybody together");
    assert!(passes(bed.get("/role").bearer("ada")).await);
    assert!(!passes(bed.get("/role").bearer("grace")).await, "all of a role together");
    assert!(passes(bed.get("/role").bearer("alan")).await);
    assert!(passes(bed.get("/role")).await, "those without a role are one more");
    assert!(passes(bed.get("/header").header("X-Tenant", "a")).await);
    assert!(!passes(bed.get("/header").header("X-Tenant", "a").bearer("ada")).await);
    assert!(passes(bed.get("/header").header("X-Tenant", "b")).await);
    assert!(passes(bed.get("/header")).await);
    assert!(!passes(bed.get("/header")).await, "who does not say is counted by address");
    let (first, second) = (bed.api_key(ApiKeyScopes::All), bed.api_key(ApiKeyScopes::All));
    for _ in 0..3 {
        assert!(passes(bed.get("/key").bearer("ada")).await, "no key is not counted");
    }
    assert!(passes(bed.get("/key").header("X-API-Key", &first)).await);
    assert!(!passes(bed.get("/key").header("X-API-Key", &first)).await);
    assert!(passes(bed.get("/key").header("X-API-Key", &second)).await);
}

#[tokio::test]
async fn reads_and_writes_count_apart_and_roles_may_have_more() {
    let limit = |name, times| Limit {
        multipliers: Multipliers::new([(Role::Admin, times)]),
        ..Limit::new(name, rate("2/1h").expect("on"), LimitBy::Caller)
    };
    let setup =
        Setup { reads_limit: Some(limit("reads", 2)), writes_limit: Some(limit("writes", 3)), ..Setup::default() };
    let bed = Bed::start(setup).await;
    bed.sign_in("ada", Role::Developer);
    bed.sign_in("root", Role::Admin);
    for (token, reads, writes) in [("ada", 2, 2), ("root", 4, 6)] {
        for (method, most) in [("GET", reads), ("PATCH", writes)] {
            for left in (0..most).rev() {
                let answer = bed.call(method, "/api/things/1").bearer(token).send().await;
                assert_eq!(answer.refusal(), "permit", "{token} {method}");
                assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
                assert_eq!(answer.header("x-ratelimit-limit"), Some(most.to_string().as_str()));
            }
            let refused = bed.call(method, "/api/things/1").bearer(token).send().await;
            let name = if method == "GET" { "reads" } else { "writes" };
            assert!(refused.refusal().ends_with(&format!("limit: \"{name}\" }}")), "{}", refused.refusal());
            assert_eq!(refused.header("ratelimit-policy"), Some(&*format!("\"{name}\";q={most};w=3600")));
        }
    }
    let health = route("/api/v1/health", |policy| policy.limit_class = LimitClass::Exempt);
    bed.swap(Setup { routes: vec![health], reads_limit: Some(limit("reads", 1)), ..Setup::default() });
    assert_eq!(bed.get("/api/health").bearer("ada").send().await.header("x-ratelimit-limit"), None);
}

#[tokio::test]
async fn an_operator_sees_how_somebody_stands_and_can_forgive() {
    let bed = Bed::start(setup()).await;
    let address = Whom::Address("127.0.0.1".parse().expect("an address"));
    assert!(bed.gate.standings(address).await.is_empty(), "who has spent nothing stands nowhere");
    for _ in 0..4 {
        bed.get("/api/login").send().await;
    }
    bed.get("/api/own").send().await;
    let standings = async || {
        let of = bed.gate.standings(address).await;
        of.iter().map(|s| format!("{} {:?} {}", s.limit.name, s.route.as_deref(), s.remaining)).collect::<Vec<_>>()
    };
    let spent = ["auth None 0", "api None 9", "route Some(\"/api/v1/own\") 1"];
    assert_eq!(standings().await, spent);
    assert_eq!(standings().await, spent, "looking spends nothing");
    assert_eq!(bed.gate.reset_limits(address, Some("auth")).await, (1, true));
    assert_eq!(bed.get("/api/login").refusal().await, "permit");
    assert_eq!(bed.gate.reset_limits(address, None).await, (3, true));
    assert!(standings().await.is_empty());
    let ada = bed.sign_in("ada", Role::Developer);
    bed.get("/api/own").bearer("ada").send().await;
    let of = bed.gate.standings(Whom::User(ada.user_id)).await;
    assert_eq!((of.len(), of[0].remaining), (1, 1), "a person is not their address");
}
