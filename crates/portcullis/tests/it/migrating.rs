//! Starting while the schema is migrated: health checks are answered, and an interrupted migration changes nothing.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portcullis_testkit::{PrivatePostgres, TestAppBuilder, free_port};
use serde_json::Value;

use crate::client::{app, client, send};

/// The advisory lock of migrations: "portcul" in ASCII, then the lock's number.
const MIGRATION_LOCK: i64 = 0x706f_7274_6375_6c01;

/// A psql session that has run its statements and stays open until it is dropped.
struct PsqlSession(Child);

impl PsqlSession {
    fn open(url: &str, statements: &str) -> Self {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", url]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = psql.spawn().expect("psql runs");
        let mut input = child.stdin.take().expect("stdin and stdout are piped");
        std::io::Write::write_all(&mut input, format!("{statements}\n\\echo done\n").as_bytes()).expect("psql reads");
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().expect("stdin and stdout are piped"));
        while !line.contains("done") {
            line.clear();
            assert!(std::io::BufRead::read_line(&mut output, &mut line).expect("psql prints") > 0, "psql ended early");
        }
        child.stdin = Some(input);
        Self(child)
    }
}

impl Drop for PsqlSession {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A server that is killed when it is dropped.
struct ServerProcess(Child);

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(builder: &TestAppBuilder) -> ServerProcess {
    let mut serve = builder.command(&["serve"]);
    ServerProcess(serve.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("the binary runs"))
}

/// Waits until `is_met`.
async fn wait_until(what: &str, mut is_met: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_met().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A replica that waits while another one migrates the database.
struct WaitingReplica {
    port: u16,
    migrating: Option<PsqlSession>,
    process: ServerProcess,
    /// Holds the folder of the process.
    _builder: TestAppBuilder,
    _database: PrivatePostgres,
}

impl WaitingReplica {
    /// Starts the replica and waits until it answers health checks.
    async fn start() -> Self {
        let server = PrivatePostgres::shared();
        let database = server.database();
        let migrating = PsqlSession::open(&database, &format!("SELECT pg_advisory_lock({MIGRATION_LOCK});"));
        let port = free_port();
        let builder = app().env("DATABASE_URL", &database).env("PORT", port.to_string());
        let process = start(&builder);
        let replica = Self { port, migrating: Some(migrating), process, _builder: builder, _database: server };
        replica.wait_for("/api/health/live").await;
        replica
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Sends SIGTERM and returns the exit code.
    fn terminate(&mut self) -> Option<i32> {
        let status = Command::new("kill").arg(self.process.0.id().to_string()).status().expect("kill runs");
        assert!(status.success());
        self.process.0.wait().expect("the process is ours").code()
    }

    /// Ends the session that holds the lock of migrations.
    fn end_migration(&mut self) {
        drop(self.migrating.take());
    }

    /// Waits until a health check succeeds.
    async fn wait_for(&self, path: &str) {
        let is_ok = async || client().get(self.url(path)).send().await.is_ok_and(|response| response.status() == 200);
        wait_until(path, is_ok).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_waits_for_a_migration_is_not_ready() {
    let replica = WaitingReplica::start().await;
    let ready = send(client().get(replica.url("/api/v1/health/ready"))).await;
    assert_eq!((ready.status, ready.body["data"]["status"].as_str()), (503, Some("migrating")), "{}", ready.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_waits_for_a_migration_asks_to_retry() {
    let replica = WaitingReplica::start().await;
    let login = send(client().post(replica.url("/api/v1/auth/login"))).await;
    assert_eq!((login.status, login.error(), login.header("retry-after")), (503, "Service unavailable", "1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_ready_after_the_migration_of_another() {
    let mut replica = WaitingReplica::start().await;
    replica.end_migration();
    replica.wait_for("/api/v1/health/ready").await;
}

// As process 1 of a container it would go on, if it had no handler of the signal yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_during_the_start_ends_it() {
    assert_eq!(WaitingReplica::start().await.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_migration_leaves_postgresql_unchanged() {
    let server = PrivatePostgres::shared();
    let database = server.database();
    // The migration reaches this table and waits for the transaction that creates it.
    let blocking = PsqlSession::open(&database, "BEGIN; CREATE TABLE audit_log (id BIGINT);");
    let builder = app().env("DATABASE_URL", &database);
    let process = start(&builder);
    let name = database.rsplit('/').next().expect("a name").to_owned();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portcullis' AND wait_event_type = 'Lock' \
        AND datname = current_database()";
    wait_until("the migration waits", async || server.run_sql_in(&name, waiting) == "1").await;
    drop(process);
    drop(blocking);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portcullis' \
        AND datname = current_database()";
    wait_until("the end of its session", async || server.run_sql_in(&name, sessions) == "0").await;
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server.run_sql_in(&name, tables), "0");
    builder.start();
}

#[test]
fn a_migration_killed_at_any_moment_leaves_sqlite_valid() {
    for round in 0..25_u64 {
        let builder = app().on_sqlite();
        let process = start(&builder);
        std::thread::park_timeout(Duration::from_millis(2 * round));
        drop(process);
        let file = builder.folder().join("portcullis-data/portcullis.db");
        if file.exists() {
            let output = builder.command(&["migrate", "status", "--json"]).output().expect("the binary runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let count = |list: &str| status[list].as_array().map_or(0, Vec::len) as u64;
            assert_eq!(status["schema"].as_u64(), Some(count("applied")), "{status}");
            assert_eq!(status["known"].as_u64(), Some(count("applied") + count("pending")), "{status}");
        }
        builder.start();
    }
}
