//! Three replicas over one PostgreSQL, and what tests ask of them.

use std::time::Duration;

use base64::Engine as _;
use portcullis_model::{Clock, Random, UserId};
use portcullis_storage::{DatabaseUrl, Store, StoreOptions};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::{PrivatePostgres, Stopwatch, TestApp};
use reqwest::{Client, Method};
use tokio::task::JoinSet;

use crate::client::{Account, app, call, client, register};
use crate::proxied::upstream;

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
    pub(crate) fn end_in_sql(&self, user: &UserId) {
        let ended = format!(
            "WITH ended AS (UPDATE sessions SET ended_at = now(), end_reason = 'logout', epoch = epoch + 1 \
             WHERE user_id = '{user}' RETURNING id, user_id, epoch) \
             INSERT INTO revocations (at, user_id, session_id, epoch, ends) \
             SELECT clock_timestamp(), user_id, id, epoch, TRUE FROM ended"
        );
        self.sql(&ended);
    }

    pub(crate) fn sql(&self, statement: &str) {
        let name = self.database.rsplit('/').next().expect("the address ends with the name");
        self.server.run_sql_in(name, statement);
    }

    /// A store on the same database: one more replica.
    pub(crate) async fn store(&self) -> Store {
        let url = DatabaseUrl::parse(&self.database).expect("the test kit gives an address");
        let metrics = Metrics::new(&MetricsOptions::default(), "test");
        let defaults = StoreOptions::new(url, Clock::system(), Random::system(), metrics);
        let options = StoreOptions { pool_min: 0, pool_max: 2, notify: true, ..defaults };
        Store::open(options).await.expect("the database opens")
    }
}

pub(crate) async fn status(client: &Client, app: &TestApp, path: &str, access: &str) -> u16 {
    client.get(app.url(path)).bearer_auth(access).send().await.expect("it answers").status().as_u16()
}

/// Waits until every replica responds with this status, and returns after which time each did.
pub(crate) async fn times_until_all_respond(
    replicas: &Replicas,
    path: &str,
    access: &str,
    wanted: u16,
) -> Vec<Duration> {
    let (client, stopwatch) = (client(), Stopwatch::start());
    let mut took = Vec::new();
    for app in &replicas.apps {
        while status(&client, app, path, access).await != wanted {
            assert!(stopwatch.elapsed() < Duration::from_secs(60), "a replica never responded with {wanted}");
        }
        took.push(stopwatch.running());
    }
    took
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
        took.extend(times_until_all_respond(replicas, "/api/v1/projects/list", &account.access, 401).await);
    }
    took
}

/// The user of an access token.
pub(crate) fn user_of(account: &Account) -> UserId {
    let claims = account.access.split('.').nth(1).expect("a JWT has three parts");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
    UserId(claims["sub"].as_str().expect("a subject").parse().expect("a UUID"))
}
