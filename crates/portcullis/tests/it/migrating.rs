//! Starting while the schema changes: the process is seen to live, and an interruption leaves the schema as it was.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portcullis_testkit::{PrivatePostgres, TestAppBuilder, free_port};
use serde_json::Value;

use crate::client::{app, client, send};

/// "portcul" in ASCII and the lock's number.
const LOCK: i64 = 0x706f_7274_6375_6c01;

/// A session of psql that has run something and stays open until it is dropped.
struct Session(Child);

impl Session {
    fn holding(url: &str, statements: &str) -> Self {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", url]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = psql.spawn().expect("psql runs");
        let mut input = child.stdin.take().expect("it is piped");
        std::io::Write::write_all(&mut input, format!("{statements}\n\\echo done\n").as_bytes()).expect("it reads");
        let mut said = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
        while !said.contains("done") {
            said.clear();
            assert!(std::io::BufRead::read_line(&mut output, &mut said).expect("it prints") > 0, "psql ended early");
        }
        child.stdin = Some(input);
        Self(child)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(builder: &TestAppBuilder) -> Process {
    let mut serve = builder.command(&["serve"]);
    Process(serve.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("the binary runs"))
}

async fn until(what: &str, mut attempt: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !attempt().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_waits_for_another_to_migrate_lives_and_is_not_ready() {
    let server = PrivatePostgres::shared();
    let database = server.database();
    let migrating = Session::holding(&database, &format!("SELECT pg_advisory_lock({LOCK});"));
    let port = free_port();
    let builder = app().env("DATABASE_URL", &database).env("PORT", port.to_string());
    let _process = start(&builder);
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let answers = async |path: &str, status: u16| {
        client().get(url(path)).send().await.is_ok_and(|answer| answer.status().as_u16() == status)
    };
    until("liveness", async || answers("/api/health/live", 200).await).await;
    let ready = send(client().get(url("/api/v1/health/ready"))).await;
    assert_eq!((ready.status, ready.body["data"]["status"].as_str()), (503, Some("migrating")), "{}", ready.body);
    let other = send(client().post(url("/api/v1/auth/login"))).await;
    assert_eq!((other.status, other.error(), other.header("retry-after")), (503, "Service unavailable", "1"));
    drop(migrating);
    until("readiness", async || answers("/api/v1/health/ready", 200).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_is_killed_half_way_leaves_nothing_on_postgresql() {
    let server = PrivatePostgres::shared();
    let database = server.database();
    // The migration comes as far as this table and waits to see what becomes of it.
    let blocking = Session::holding(&database, "BEGIN; CREATE TABLE audit_log (id BIGINT);");
    let builder = app().env("DATABASE_URL", &database);
    let process = start(&builder);
    let name = database.rsplit('/').next().expect("a name").to_owned();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portcullis' AND wait_event_type = 'Lock' \
        AND datname = current_database()";
    until("the migration is half-way", async || server.run_sql_in(&name, waits) == "1").await;
    drop(process);
    drop(blocking);
    let gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portcullis' \
        AND datname = current_database()";
    until("its session ends", async || server.run_sql_in(&name, gone) == "0").await;
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server.run_sql_in(&name, tables), "0");
    builder.start();
}

#[test]
fn a_migration_that_is_killed_at_any_moment_leaves_sqlite_whole() {
    for round in 0..25_u64 {
        let builder = app().on_sqlite();
        let process = start(&builder);
        std::thread::park_timeout(Duration::from_millis(2 * round));
        drop(process);
        let file = builder.folder().join("portcullis-data/portcullis.db");
        if file.exists() {
            let said = builder.command(&["migrate", "status", "--json"]).output().expect("the binary runs");
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            let status: Value = serde_json::from_slice(&said.stdout).expect("JSON");
            let count = |list: &str| status[list].as_array().map_or(0, Vec::len) as u64;
            assert_eq!(status["schema"].as_u64(), Some(count("applied")), "{status}");
            assert_eq!(status["known"].as_u64(), Some(count("applied") + count("pending")), "{status}");
        }
        builder.start();
    }
}
