//! Outages of the database and of Redis: which requests still work, how the others are refused, and that everything
//! recovers by itself.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use portcullis_testkit::{
    PASSWORD, PrivatePostgres, PrivateRedis, Relay, Stopwatch, TestApp, TestAppBuilder, registration,
};
use reqwest::{Client, Method};
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{Account, TestResponse, app, call, client, get, post, register, send};
use crate::proxied::upstream;

/// Longest time until everything works again once the database is back.
const RECOVERY: Duration = Duration::from_secs(5);
/// Longest wait for events without a promised time, on a machine that may be busy.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns a gateway with a proxied route that needs a session.
async fn gateway(database: &str) -> TestAppBuilder {
    let (upstream, _) = upstream().await;
    app().env("DATABASE_URL", database).env("PORTCULLIS__DATABASE__STATEMENT_TIMEOUT", "2s").settings(&format!(
        "[upstreams.projects]\ntargets = [\"http://{upstream}\"]\n\n\
         [[routes]]\npath = \"/api/v1/projects/{{*rest}}\"\nupstream = \"projects\"\n"
    ))
}

async fn login(client: &Client, app_url: &str, email: &str) -> TestResponse {
    send(client.post(format!("{app_url}/api/v1/auth/login")).json(&json!({ "email": email, "password": PASSWORD })))
        .await
}

async fn proxied(app: &TestApp, account: &Account) -> u16 {
    call(app, Method::GET, "/api/v1/projects/list", &account.access, None).await.status
}

/// Repeats an attempt until it succeeds, and returns how long that took.
async fn until<F: Future<Output = bool>>(what: &str, limit: Duration, mut attempt: impl FnMut() -> F) -> Duration {
    let stopwatch = Stopwatch::start();
    while !attempt().await {
        assert!(stopwatch.running() < limit, "not seen within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stopwatch.elapsed()
}

fn is_unavailable(response: &TestResponse) -> bool {
    response.status == 503 && response.error() == "Service unavailable" && !response.header("retry-after").is_empty()
}

/// Users who log in, register and call an upstream all the time, and what the server acknowledged to them.
struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    registered: Vec<String>,
    proxied: usize,
    refused: usize,
}

impl Load {
    fn start(app: &TestApp, known: &[Account]) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let mut tasks = JoinSet::new();
        for (number, account) in known.iter().enumerate() {
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            let (base, account) = (app.url(""), account.clone());
            tasks.spawn(async move { generate_load(number, &base, &account, &stop, &seen).await });
        }
        Self { stop, seen, tasks }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("not poisoned")
    }

    async fn is_running(&self) {
        let busy = async || {
            let seen = self.seen();
            seen.proxied > 50 && seen.registered.len() > 5
        };
        until("a load", EVENT_TIMEOUT, busy).await;
    }

    /// Waits until more was acknowledged.
    async fn goes_on(&self) {
        let numbers = || {
            let seen = self.seen();
            (seen.proxied, seen.registered.len())
        };
        let (proxied, registered) = numbers();
        let more = async || numbers().0 > proxied + 20 && numbers().1 > registered + 2;
        until("more of the load", EVENT_TIMEOUT, more).await;
    }

    async fn end(self) -> Seen {
        self.stop.store(true, Ordering::Release);
        self.tasks.join_all().await;
        std::mem::take(&mut *self.seen.lock().expect("not poisoned"))
    }
}

async fn generate_load(number: usize, base: &str, account: &Account, stop: &AtomicBool, seen: &Mutex<Seen>) {
    let client = client();
    let seen = || seen.lock().expect("not poisoned");
    let mut round = 0;
    while !stop.load(Ordering::Acquire) {
        round += 1;
        for _ in 0..5 {
            let request = client.get(format!("{base}/api/v1/projects/list")).bearer_auth(&account.access);
            let response = send(request).await;
            assert_eq!(response.status, 200, "a known session was refused: {}", response.body);
            seen().proxied += 1;
        }
        let response = login(&client, base, &account.email).await;
        assert!(response.status == 200 || is_unavailable(&response), "{}: {}", response.status, response.body);
        seen().refused += usize::from(response.status != 200);
        let name = format!("load{number}r{round}");
        let response = send(client.post(format!("{base}/api/v1/auth/register")).json(&registration(&name))).await;
        match response.status {
            201 => seen().registered.push(format!("{name}@example.com")),
            // The acknowledgement of a commit may be lost with the connection; then the write was not acknowledged.
            _ => assert!(is_unavailable(&response), "{}: {}", response.status, response.body),
        }
    }
}

async fn four_users(app: &TestApp) -> Vec<Account> {
    let mut users = Vec::new();
    for _ in 0..4 {
        let account = register(app).await;
        assert_eq!(proxied(app, &account).await, 200);
        users.push(account);
    }
    users
}

async fn all_can_log_in(app: &TestApp, emails: &[String]) {
    let client = client();
    for email in emails {
        let response = login(&client, &app.url(""), email).await;
        assert_eq!(response.status, 200, "{email} was registered and is lost: {}", response.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_restart_loses_no_session_and_no_write() {
    let server = PrivatePostgres::start();
    let app = gateway(&server.database()).await.start();
    let users = four_users(&app).await;
    let load = Load::start(&app, &users);
    load.is_running().await;
    server.stop();
    until("readiness fails", RECOVERY, async || get(&app, "/api/v1/health/ready").await.status == 503).await;
    assert_eq!(get(&app, "/api/v1/health/live").await.status, 200);
    until("a refusal", EVENT_TIMEOUT, async || load.seen().refused > 0).await;
    server.start_again();
    let client = client();
    let back =
        until("a login", RECOVERY, async || login(&client, &app.url(""), &users[0].email).await.status == 200).await;
    eprintln!("logins worked {back:?} after PostgreSQL's return");
    until("readiness", RECOVERY, async || get(&app, "/api/v1/health/ready").await.status == 200).await;
    let seen = load.end().await;
    all_can_log_in(&app, &seen.registered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_postgresql_is_refused_in_time_and_used_again() {
    let server = PrivatePostgres::start();
    let app = gateway(&server.database()).await.start();
    let users = four_users(&app).await;
    server.freeze();
    let stopwatch = Stopwatch::start();
    let responses: Vec<TestResponse> = {
        let (client, base) = (client(), app.url(""));
        let mut waiting = JoinSet::new();
        // These are more logins than the pool has connections.
        for _ in 0..20 {
            let (client, base, email) = (client.clone(), base.clone(), users[0].email.clone());
            waiting.spawn(async move { login(&client, &base, &email).await });
        }
        for account in &users {
            assert_eq!(proxied(&app, account).await, 200);
        }
        assert!(stopwatch.running() < Duration::from_secs(2), "known sessions waited for SQL");
        waiting.join_all().await
    };
    assert!(responses.iter().all(is_unavailable), "{responses:?}");
    stopwatch.assert_within(0.0..10.0);
    server.thaw();
    let client = client();
    let back =
        until("a login", RECOVERY, async || login(&client, &app.url(""), &users[0].email).await.status == 200).await;
    eprintln!("logins worked {back:?} after PostgreSQL thawed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_after_a_fail_over_to_the_standby() {
    let primary = PrivatePostgres::start();
    let database = primary.database();
    let standby = primary.standby();
    let relay = Relay::to((Ipv4Addr::LOCALHOST, primary.port()).into());
    let through = database.replace(&format!(":{}/", primary.port()), &format!(":{}/", relay.port()));
    let app = gateway(&through).await.start();
    let users = four_users(&app).await;
    let load = Load::start(&app, &users);
    load.is_running().await;
    // The old primary's machine vanishes: its packets are dropped, no connection is closed.
    relay.freeze_open();
    primary.stop();
    standby.promote();
    standby.run_sql("ALTER SYSTEM SET synchronous_standby_names = ''");
    standby.run_sql("SELECT pg_reload_conf()");
    relay.redirect_to((Ipv4Addr::LOCALHOST, standby.port()).into());
    let client = client();
    let back = until("a login", Duration::from_secs(15), async || {
        login(&client, &app.url(""), &users[0].email).await.status == 200
    })
    .await;
    eprintln!("logins worked {back:?} after the fail-over");
    let seen = load.end().await;
    all_can_log_in(&app, &seen.registered).await;
}

/// A folder on a small file system of its own, which the test can fill. It needs the right to mount.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m,mode=700", "none"]).arg(folder.path()).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    fn fill(&self) {
        let filler = std::fs::File::create(self.0.path().join("filler")).expect("there is room for a file");
        let mut filler = std::io::BufWriter::new(filler);
        while std::io::Write::write_all(&mut filler, &[0u8; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.path().join("filler")).expect("the filler is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    if std::env::var_os("PORTCULLIS_TEST_WITHOUT_MOUNT").is_some() {
        eprintln!("NOT TESTED: PORTCULLIS_TEST_WITHOUT_MOUNT is set");
        return;
    }
    let disk = SmallDisk::new().expect(
        "a file system can be mounted. hint: run as root, or set PORTCULLIS_TEST_WITHOUT_MOUNT=1 to leave this test out",
    );
    let database = format!("sqlite://{}", disk.0.path().join("portcullis.db").display());
    let app = gateway(&database).await.start();
    let users = four_users(&app).await;
    disk.fill();
    let mut registered = Vec::new();
    let mut refused = false;
    for round in 0..50 {
        let name = format!("full{round}");
        let response = post(&app, "/api/v1/auth/register", &registration(&name)).await;
        if response.status == 201 {
            registered.push(format!("{name}@example.com"));
        } else {
            assert!(is_unavailable(&response), "{}: {}", response.status, response.body);
            refused = true;
            break;
        }
    }
    assert!(refused, "the disk was never full");
    for account in &users {
        assert_eq!(proxied(&app, account).await, 200);
        assert_eq!(call(&app, Method::GET, "/api/v1/auth/profile", &account.access, None).await.status, 200);
    }
    disk.make_room();
    let client = client();
    until("a login", RECOVERY, async || login(&client, &app.url(""), &users[0].email).await.status == 200).await;
    all_can_log_in(&app, &registered).await;
    all_can_log_in(&app, &users.iter().map(|account| account.email.clone()).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_redis_refuses_no_request() {
    let server = PrivatePostgres::shared();
    let redis = PrivateRedis::start();
    let limits = [("PORTCULLIS__LIMITS__ENABLED", "true"), ("PORTCULLIS__LIMITS__API", "1000000/1h")];
    let builder =
        gateway(&server.database()).await.env("REDIS_URL", redis.url()).env("PORTCULLIS__LIMITS__AUTH", "1000000/1h");
    let app = limits.iter().fold(builder, |builder, (name, value)| builder.env(name, *value)).start();
    let users = four_users(&app).await;
    let redis_says = async || {
        get(&app, "/api/v1/health/detailed").await.body["data"]["redis"]["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(redis_says().await, "healthy");
    let load = Load::start(&app, &users);
    load.is_running().await;
    redis.stop();
    until("the loss shows", RECOVERY, async || redis_says().await == "unhealthy").await;
    assert_eq!(get(&app, "/api/v1/health/ready").await.status, 200);
    assert_eq!(get(&app, "/api/v1/health/detailed").await.status, 200);
    load.goes_on().await;
    redis.start_again();
    until("the return shows", RECOVERY, async || redis_says().await == "healthy").await;
    redis.freeze();
    until("the loss shows", RECOVERY, async || redis_says().await == "unhealthy").await;
    load.goes_on().await;
    redis.thaw();
    until("the return shows", RECOVERY, async || redis_says().await == "healthy").await;
    let seen = load.end().await;
    assert_eq!(seen.refused, 0, "a login was refused because Redis was gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_sessions_survive_an_outage_of_sql_and_redis() {
    let server = PrivatePostgres::start();
    let redis = PrivateRedis::start();
    let app = gateway(&server.database()).await.env("REDIS_URL", redis.url()).start();
    let users = four_users(&app).await;
    redis.stop();
    server.stop();
    let client = client();
    until("a login is refused", RECOVERY, async || {
        is_unavailable(&login(&client, &app.url(""), &users[0].email).await)
    })
    .await;
    for account in &users {
        assert_eq!(proxied(&app, account).await, 200);
    }
    server.start_again();
    redis.start_again();
    let back =
        until("a login", RECOVERY, async || login(&client, &app.url(""), &users[0].email).await.status == 200).await;
    eprintln!("logins worked {back:?} after both were back");
    for account in &users {
        assert_eq!(proxied(&app, account).await, 200);
        assert_eq!(call(&app, Method::POST, "/api/v1/auth/logout", &account.access, None).await.status, 200);
        assert_eq!(proxied(&app, account).await, 401);
    }
}
