//! A session that ended on another replica writes nothing here, although its copy is still cached (SR-59).

use portcullis_api::{Endpoint, endpoints};
use portcullis_model::{Clock, Random, SessionId};
use portcullis_storage::{DatabaseUrl, EndReason, MigrateMode, Store, StoreOptions};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::{PASSWORD, PrivatePostgres, TestApp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{TestResponse, app, call, client, register, send};
use crate::shell_users::administrator;

/// A gateway, its database, and what its administrator and another user have.
struct Scene {
    app: TestApp,
    server: PrivatePostgres,
    database: String,
    root: String,
    root_session: String,
    key: String,
    user: String,
    user_session: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

async fn session_of(app: &TestApp, token: &str) -> String {
    let listed = call(app, Method::GET, "/api/v1/auth/sessions", token, None).await;
    text(&listed.body["data"]["sessions"][0]["id"])
}

impl Scene {
    async fn set() -> Self {
        let server = PrivatePostgres::shared();
        let database = server.database();
        let app = app().env("DATABASE_URL", &database).env("PORTCULLIS__CSRF__MODE", "cookie").start();
        let root = administrator(&app).await;
        let root_session = session_of(&app, &root).await;
        let made = call(&app, Method::POST, "/api/v1/api-keys", &root, Some(&json!({ "name": "first" }))).await;
        let key = text(&made.body["data"]["apiKey"]["id"]);
        let ada = register(&app).await;
        let profile = call(&app, Method::GET, "/api/v1/auth/profile", &ada.access, None).await;
        let user = text(&profile.body["data"]["user"]["id"]);
        let user_session = session_of(&app, &ada.access).await;
        Self { app, server, database, root, root_session, key, user, user_session }
    }

    fn sql(&self, statement: &str) -> String {
        let name = self.database.rsplit('/').next().expect("the address ends with the name");
        self.server.run_sql_in(name, statement).trim().to_owned()
    }

    /// What the administrator could have changed.
    fn stored(&self) -> String {
        self.sql(
            "SELECT (SELECT string_agg(u::text, '|' ORDER BY id) FROM users u), \
             (SELECT string_agg(p::text, '|' ORDER BY user_id, permission) FROM user_permissions p), \
             (SELECT string_agg(id::text || COALESCE(revoked_at::text, ''), '|' ORDER BY id) FROM api_keys), \
             (SELECT string_agg(id::text || COALESCE(ended_at::text, ''), '|' ORDER BY id) FROM sessions)",
        )
    }

    /// Calls an endpoint with parameters that exist and a body that every endpoint can read.
    async fn call(&self, endpoint: &Endpoint) -> TestResponse {
        let id = match endpoint.template {
            path if path.starts_with("/api/v1/api-keys/") => &self.key,
            path if path.starts_with("/api/v1/auth/sessions/") => &self.root_session,
            _ => &self.user,
        };
        let path = endpoint.template.replace("{id}", id).replace("{session}", &self.user_session);
        let path = path.replace("{permission}", "USER_VIEW");
        let method = Method::from_bytes(endpoint.method.as_str().as_bytes()).expect("a method");
        let body = json!({
            "currentPassword": PASSWORD, "newPassword": "a quite different secret",
            "confirmPassword": "a quite different secret", "name": "second", "email": "grace@example.com",
            "username": "grace", "firstName": "Grace", "lastName": "Hopper", "isActive": false, "role": "TESTER",
            "permissions": ["USER_VIEW"],
        });
        let request = client().request(method, self.app.url(&format!("{path}?address=127.0.0.1")));
        send(request.bearer_auth(&self.root).json(&body)).await
    }

    /// One more replica on the same database, without a feed.
    async fn store(&self) -> Store {
        let options = StoreOptions {
            url: DatabaseUrl::parse(&self.database).expect("the test kit gives an address"),
            pool_min: 0,
            pool_max: 2,
            acquire_timeout: std::time::Duration::from_secs(20),
            statement_timeout: std::time::Duration::from_secs(20),
            migrate: MigrateMode::Auto,
            migrate_wait: std::time::Duration::from_secs(60),
            app_version: "test".to_owned(),
            notify: true,
            clock: Clock::system(),
            random: Random::system(),
            metrics: Metrics::new(&MetricsOptions::default(), "test"),
        };
        Store::open(options).await.expect("the database opens")
    }
}

#[tokio::test]
async fn sr_59_a_session_ended_elsewhere_writes_nothing() {
    let scene = Scene::set().await;
    // The end has been committed; the entry of the revocation log that would tell this replica is not there yet.
    scene.sql(&format!(
        "UPDATE sessions SET ended_at = now(), end_reason = 'logout', epoch = epoch + 1 WHERE id = '{}'",
        scene.root_session
    ));
    let before = scene.stored();
    let writes = |endpoint: &&Endpoint| !endpoint.is_open() && endpoint.method != "GET";
    for endpoint in endpoints().iter().filter(writes) {
        let answer = scene.call(endpoint).await;
        let refused = (answer.status, answer.body["code"].as_str());
        assert_eq!(refused, (401, Some("auth.invalid_token")), "{} {}", endpoint.method, endpoint.template);
    }
    let everywhere = json!({ "all": true });
    let signed_out = call(&scene.app, Method::POST, "/api/v1/auth/logout", &scene.root, Some(&everywhere)).await;
    assert_eq!(signed_out.status, 401, "{}", signed_out.body);
    assert_eq!(scene.stored(), before);
    let profile = call(&scene.app, Method::GET, "/api/v1/auth/profile", &scene.root, None).await;
    assert_eq!(profile.status, 200, "the copy was held all the time: {}", profile.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_59_a_write_waits_for_the_logout_that_is_under_way() {
    let scene = Scene::set().await;
    let store = scene.store().await;
    let mut tx = store.begin().await.expect("begins");
    let session: SessionId = scene.root_session.parse().expect("an id");
    assert!(tx.end_session(session, EndReason::Logout, store.clock().now()).await.expect("runs"));
    let request = client().post(scene.app.url("/api/v1/api-keys")).bearer_auth(&scene.root);
    let creating = tokio::spawn(send(request.json(&json!({ "name": "second" }))));
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while scene.sql(waiting) == "0" {
        assert!(!creating.is_finished(), "the request did not wait for the logout");
    }
    tx.commit().await.expect("commits");
    let answer = creating.await.expect("no panic");
    assert_eq!((answer.status, &answer.body["code"]), (401, &json!("auth.invalid_token")), "{}", answer.body);
}
