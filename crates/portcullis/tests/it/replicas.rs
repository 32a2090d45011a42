//! Three replicas over one PostgreSQL, with and without Redis: a change on one is in force on all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use portcullis_model::secret::sha256;
use portcullis_model::{Clock, Random, Role, UserId};
use portcullis_storage::{DatabaseUrl, Store, StoreOptions};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::{PrivatePostgres, PrivateRedis, Relay, TestApp};
use reqwest::{Client, Method, StatusCode};
use tokio::task::JoinSet;

use crate::client::{Account, app, call, client, get, register};
use crate::proxied::upstream;

/// A revocation reaches every replica within this time (SR-22).
const REVOKED: Duration = Duration::from_secs(1);

/// Three replicas with the same secrets, started at the same moment.
pub(crate) struct Replicas {
    pub(crate) apps: Vec<TestApp>,
    database: String,
    server: PrivatePostgres,
}

impl Replicas {
    pub(crate) async fn start(extra: &[(&str, &str)]) -> Self {
        let server = PrivatePostgres::shared();
        let database = server.database();
        Self::on(server, database, extra).await
    }

    pub(crate) async fn on(server: PrivatePostgres, database: String, extra: &[(&str, &str)]) -> Self {
        let (upstream, _) = upstream().await;
        let mut starting = JoinSet::new();
        for _ in 0..3 {
            let mut builder = app()
                .env("DATABASE_URL", &database)
                .env("CSRF_SECRET", "the replicas' common secret for CSRF tokens")
                .env("ENCRYPTION_KEY", "the replicas' common key for everything sealed")
                .settings(&format!(
                    "[upstreams.projects]\ntargets = [\"http://{upstream}\"]\n\n\
                     [[routes]]\npath = \"/api/v1/projects/{{*rest}}\"\nupstream = \"projects\"\nroles = [\"DEVELOPER\"]\n\n\
                     [[routes]]\npath = \"/api/v1/managers/{{*rest}}\"\nupstream = \"projects\"\nroles = [\"MANAGER\"]\n"
                ));
            for (name, value) in extra {
                builder = builder.env(name, *value);
            }
            starting.spawn_blocking(|| builder.start());
        }
        Self { apps: starting.join_all().await, database, server }
    }

    /// Commits the statements of a logout, like a writer that dies before it notifies anybody.
    fn end_in_sql(&self, user: &UserId) {
        let ended = format!(
            "WITH ended AS (UPDATE sessions SET ended_at = now(), end_reason = 'logout', epoch = epoch + 1 \
             WHERE user_id = '{user}' RETURNING id, user_id, epoch) \
             INSERT INTO revocations (at, user_id, session_id, epoch, ends) \
             SELECT clock_timestamp(), user_id, id, epoch, TRUE FROM ended"
        );
        self.sql(&ended);
    }

    fn sql(&self, statement: &str) {
        let name = self.database.rsplit('/').next().expect("the address ends with the name");
        self.server.run_sql_in(name, statement);
    }

    /// A store on the same database: one more replica.
    async fn store(&self) -> Store {
        let url = DatabaseUrl::parse(&self.database).expect("the test kit gives an address");
        let metrics = Metrics::new(&MetricsOptions::default(), "test");
        let defaults = StoreOptions::new(url, Clock::system(), Random::system(), metrics);
        let options = StoreOptions { pool_min: 0, pool_max: 2, notify: true, ..defaults };
        Store::open(options).await.expect("the database opens")
    }
}

async fn status(client: &Client, app: &TestApp, path: &str, access: &str) -> u16 {
    client.get(app.url(path)).bearer_auth(access).send().await.expect("it answers").status().as_u16()
}

/// Waits until every replica responds with this status, and returns the times since `begun`.
async fn times_until_all_respond(
    replicas: &Replicas,
    path: &str,
    access: &str,
    wanted: u16,
    begun: Instant,
) -> Vec<Duration> {
    let client = client();
    let mut took = Vec::new();
    for app in &replicas.apps {
        while status(&client, app, path, access).await != wanted {
            assert!(begun.elapsed() < Duration::from_secs(10), "a replica never responded with {wanted}");
        }
        took.push(begun.elapsed());
    }
    took
}

fn distribution(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    eprintln!("{what}: median {:?}, p95 {:?}, most {:?} of {}", at(50), at(95), at(100), took.len());
}

pub(crate) async fn logouts_reach_all(replicas: &Replicas, rounds: usize) -> Vec<Duration> {
    let client = client();
    let mut took = Vec::new();
    for round in 0..rounds {
        let account = register(&replicas.apps[round % 3]).await;
        for app in &replicas.apps {
            assert_eq!(status(&client, app, "/api/v1/projects/list", &account.access).await, 200);
        }
        let out =
            call(&replicas.apps[(round + 1) % 3], Method::POST, "/api/v1/auth/logout", &account.access, None).await;
        assert_eq!(out.status, 200, "{}", out.body);
        took.extend(
            times_until_all_respond(replicas, "/api/v1/projects/list", &account.access, 401, Instant::now()).await,
        );
    }
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_a_logout_on_one_replica_is_one_on_all() {
    let replicas = Replicas::start(&[]).await;
    for app in &replicas.apps {
        assert_eq!(get(app, "/api/v1/health/ready").await.status, 200);
    }
    let migrated = replicas.store().await;
    assert!(migrated.ping().await.is_ok());
    let took = logouts_reach_all(&replicas, 30).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    distribution("a logout was refused on every replica after", took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_over_redis_a_logout_is_in_force_on_all_replicas() {
    let redis = PrivateRedis::start();
    let replicas = Replicas::start(&[("REDIS_URL", &redis.url())]).await;
    let took = logouts_reach_all(&replicas, 30).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    distribution("over Redis a logout was refused on every replica after", took);
    let page =
        client().get(replicas.apps[2].url("/metrics")).send().await.expect("answers").text().await.expect("text");
    let hits = page.lines().find_map(|line| line.strip_prefix("cache_hits_total{cache_type=\"redis\"} "));
    assert!(hits.is_some_and(|hits| hits.parse::<f64>().is_ok_and(|hits| hits > 0.0)), "no session came from Redis");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_without_packets_from_redis_a_logout_takes_a_second() {
    let redis = PrivateRedis::start();
    let relay = Relay::to(redis.address());
    let replicas = Replicas::start(&[("REDIS_URL", &format!("redis://127.0.0.1:{}", relay.port()))]).await;
    relay.freeze();
    let took = logouts_reach_all(&replicas, 5).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    distribution("with packets to Redis dropped a logout was refused on every replica after", took);
    relay.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_a_new_replica_uses_no_copy_from_before_a_logout() {
    let redis = PrivateRedis::start();
    let mut replicas = Replicas::start(&[("REDIS_URL", &redis.url())]).await;
    let account = register(&replicas.apps[0]).await;
    let client = client();
    for app in &replicas.apps {
        assert_eq!(status(&client, app, "/api/v1/projects/list", &account.access).await, 200);
    }
    // No replica is left that could pass the next revocation on to Redis.
    for app in &mut replicas.apps {
        app.stop();
    }
    let user = user_of(&account);
    replicas.end_in_sql(&user);
    // Longer ago than a reading of the log looks back by itself.
    replicas.sql("UPDATE revocations SET at = at - INTERVAL '60 s'");
    replicas.apps[0].start_again();
    assert_eq!(status(&client, &replicas.apps[0], "/api/v1/projects/list", &account.access).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_60_write_access_to_redis_gives_no_rights() {
    let redis = PrivateRedis::start();
    let mut replicas = Replicas::start(&[("REDIS_URL", &redis.url())]).await;
    let account = register(&replicas.apps[0]).await;
    let client = client();
    assert_eq!(status(&client, &replicas.apps[0], "/api/v1/projects/list", &account.access).await, 200);
    let key = loop {
        let keys = redis.command(&["keys", "portcullis:session:*"]);
        if let Some(key) = keys.lines().next().filter(|key| !key.is_empty()) {
            break key.to_owned();
        }
        tokio::task::yield_now().await;
    };
    let genuine = redis.command(&["get", &key]).trim().to_owned();
    let forged = genuine.replace("DEVELOPER", "MANAGER");
    assert_ne!(forged, genuine);
    redis.command(&["set", &key, &forged, "ex", "300"]);
    assert_eq!(status(&client, &replicas.apps[1], "/api/v1/managers/list", &account.access).await, 403);

    let out = call(&replicas.apps[0], Method::POST, "/api/v1/auth/logout", &account.access, None).await;
    assert_eq!(out.status, 200, "{}", out.body);
    redis.command(&["set", &key, &genuine, "ex", "300"]);
    let path = "/api/v1/projects/list";
    let took = times_until_all_respond(&replicas, path, &account.access, 401, Instant::now()).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    // A replica that starts now was not told of the logout by the feed.
    replicas.apps[2].stop();
    replicas.apps[2].start_again();
    redis.command(&["set", &key, &genuine, "ex", "300"]);
    assert_eq!(status(&client, &replicas.apps[2], path, &account.access).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_counts_over_all_replicas() {
    let redis = PrivateRedis::start();
    let limits = [
        ("REDIS_URL", redis.url()),
        ("PORTCULLIS__LIMITS__ENABLED", "true".to_owned()),
        ("PORTCULLIS__LIMITS__API", "37/1h".to_owned()),
    ];
    let limits: Vec<(&str, &str)> = limits.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let replicas = Arc::new(Replicas::start(&limits).await);
    let mut asking = JoinSet::new();
    for number in 0..60 {
        let replicas = Arc::clone(&replicas);
        asking.spawn(async move { get(&replicas.apps[number % 3], "/api/v1/projects/list").await.status });
    }
    let responses = asking.join_all().await;
    // A request within the limit is refused for its missing token.
    assert_eq!(responses.iter().filter(|status| **status == 401).count(), 37, "{responses:?}");
    assert_eq!(responses.iter().filter(|status| **status == 429).count(), 23, "{responses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_35_a_new_role_is_in_force_on_all_within_a_second() {
    let replicas = Replicas::start(&[]).await;
    let account = register(&replicas.apps[0]).await;
    let user = user_of(&account);
    let client = client();
    for app in &replicas.apps {
        assert_eq!(status(&client, app, "/api/v1/managers/list", &account.access).await, 403);
    }
    let store = replicas.store().await;
    let mut tx = store.begin().await.expect("begins");
    tx.set_role(user, Role::Manager, store.clock().now()).await.expect("runs");
    tx.commit().await.expect("commits");
    let took = times_until_all_respond(&replicas, "/api/v1/managers/list", &account.access, 200, Instant::now()).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    distribution("a new role was in force on every replica after", took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_22_a_logout_whose_writer_dies_reaches_all_replicas() {
    let replicas = Replicas::start(&[]).await;
    let accounts = [register(&replicas.apps[0]).await, register(&replicas.apps[1]).await];
    let client = client();
    for account in &accounts {
        for app in &replicas.apps {
            assert_eq!(status(&client, app, "/api/v1/projects/list", &account.access).await, 200);
        }
    }
    replicas.end_in_sql(&user_of(&accounts[0]));
    let took =
        times_until_all_respond(&replicas, "/api/v1/projects/list", &accounts[0].access, 401, Instant::now()).await;
    assert!(took.iter().all(|took| *took < REVOKED), "{took:?}");
    distribution("a revocation that nobody announced was refused on every replica after", took);
    for app in &replicas.apps {
        assert_eq!(status(&client, app, "/api/v1/projects/list", &accounts[1].access).await, 200, "another's session");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_registrations_of_an_address_succeeds() {
    let replicas = Arc::new(Replicas::start(&[]).await);
    let mut racing = JoinSet::new();
    for number in 0..12 {
        let replicas = Arc::clone(&replicas);
        racing.spawn(async move {
            let mut body = portcullis_testkit::registration("grace");
            body["username"] = format!("grace{number}").into();
            crate::client::post(&replicas.apps[number % 3], "/api/v1/auth/register", &body).await.status
        });
    }
    let mut responses = racing.join_all().await;
    responses.sort_unstable();
    let conflict = StatusCode::CONFLICT.as_u16();
    assert_eq!((responses[0], &responses[1..]), (201, [conflict; 11].as_slice()));
}

/// The user of an access token.
fn user_of(account: &Account) -> UserId {
    let claims = account.access.split('.').nth(1).expect("a JWT has three parts");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
    UserId(claims["sub"].as_str().expect("a subject").parse().expect("a UUID"))
}

#[tokio::test]
async fn each_limit_says_what_it_does_without_redis() {
    let redis = PrivateRedis::start();
    let (upstream, _) = upstream().await;
    let route = |name: &str| {
        format!(
            "[[routes]]\npath = \"/api/v1/{name}\"\nupstream = \"u\"\nauth = \"none\"\n\
             rate_limit = {{ rate = \"2/1h\", without_redis = \"{name}\" }}\n"
        )
    };
    let settings = format!(
        "[upstreams.u]\ntargets = [\"http://{upstream}\"]\n{}{}{}",
        route("local"),
        route("open"),
        route("closed")
    );
    let app = app().env("REDIS_URL", redis.url()).settings(&settings).start();
    let statuses = async |name: &str| {
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(get(&app, &format!("/api/{name}")).await.status);
        }
        all
    };
    for name in ["local", "open", "closed"] {
        assert_eq!(statuses(name).await, [200, 200, 429], "{name}, counted together");
    }
    drop(redis);
    assert_eq!(statuses("local").await, [200, 200, 429], "counted anew, in this process");
    assert_eq!(statuses("open").await, [200, 200, 200]);
    assert_eq!(statuses("closed").await, [503, 503, 503]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_refused_by_one_limit_counts_against_no_other() {
    let redis = PrivateRedis::start();
    let (upstream, _) = upstream().await;
    // One limit before the caller is known, one afterwards, and one that all callers share.
    let address = "{ rate = \"2/1h\", by = \"address\", name = \"own\" }";
    let caller = "{ rate = \"2/1h\", by = \"caller\", name = \"own\" }";
    let everybody = "{ rate = \"4/1h\", by = \"everybody\", name = \"all\" }";
    let route = |name: &str, limits: [&str; 2]| {
        format!(
            "[[routes]]\npath = \"/api/v1/{name}\"\nupstream = \"u\"\nauth = \"none\"\nrate_limit = [{}]\n",
            limits.join(", ")
        )
    };
    let settings = format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n[upstreams.u]\ntargets = [\"http://{upstream}\"]\n{}{}{}",
        route("own-first", [address, everybody]),
        route("all-first", [everybody, address]),
        route("own-last", [everybody, caller])
    );
    let client = Client::new();
    for with_redis in [false, true] {
        let app = if with_redis { app().env("REDIS_URL", redis.url()) } else { app() };
        let app = app.settings(&settings).start();
        for path in ["/api/own-first", "/api/all-first", "/api/own-last"] {
            let status = async |from: &str| {
                let asked = client.get(app.url(path)).header("x-forwarded-for", from).send().await;
                asked.expect("a response").status().as_u16()
            };
            for _ in 0..2 {
                assert_eq!(status("203.0.113.1").await, 200);
            }
            for _ in 0..10 {
                assert_eq!(status("203.0.113.1").await, 429, "its own limit is used up");
            }
            for from in ["203.0.113.2", "203.0.113.3"] {
                assert_eq!(
                    status(from).await,
                    200,
                    "{path}, with Redis: {with_redis}: the shared limit is not used up"
                );
            }
            assert_eq!(
                status("203.0.113.4").await,
                429,
                "{path}, with Redis: {with_redis}: the shared limit is used up"
            );
        }
    }
}

/// The bound holds for all replicas together: what they count at the same moment, each sees before it compares.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_65_a_burst_over_replicas_compares_no_more_than_the_bound() {
    let replicas = Arc::new(Replicas::start(&[("PORTCULLIS__SERVER__TRUSTED_PROXIES", "127.0.0.1")]).await);
    let account = register(&replicas.apps[0]).await;
    let subject: String =
        sha256(format!("account\n{}", account.email).as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    replicas.sql(&format!(
        "INSERT INTO sign_in_attempts (subject, failures, last_at) VALUES ('\\x{subject}', 97, now()) \
         ON CONFLICT (subject) DO UPDATE SET failures = 97"
    ));
    let mut burst = JoinSet::new();
    for n in 0..24 {
        let (replicas, email) = (Arc::clone(&replicas), account.email.clone());
        burst.spawn(async move {
            let request = client()
                .post(replicas.apps[n % 2].url("/api/v1/auth/login"))
                .header("x-forwarded-for", format!("203.0.113.{n}"))
                .json(&serde_json::json!({ "email": email, "password": "a guess" }));
            request.send().await.expect("it answers").status().as_u16()
        });
    }
    let statuses = burst.join_all().await;
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert!((1..=3).contains(&count(401)), "{statuses:?}");
    assert_eq!(count(401) + count(429), 24, "{statuses:?}");
}
