//! `portcullis move` from SQLite to PostgreSQL: users keep their passwords, sessions and tokens.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portcullis_testkit::{PASSWORD, PrivatePostgres, TestAppBuilder};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{app, call, post, register};

fn secrets(builder: TestAppBuilder) -> TestAppBuilder {
    builder
        .env("CSRF_SECRET", "the same secret for CSRF tokens, before and after")
        .env("ENCRYPTION_KEY", "the same key for everything sealed, before and after")
}

/// Returns the address of the database that a server without settings creates.
fn sqlite_in(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("portcullis-data/portcullis.db").display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_tokens_and_sessions_work_after_a_move() {
    let mut before = secrets(app().on_sqlite()).start();
    let account = register(&before).await;
    let ended = register(&before).await;
    assert_eq!(call(&before, Method::POST, "/api/v1/auth/logout", &ended.access, None).await.status, 200);
    before.stop();

    let server = PrivatePostgres::shared();
    let to = server.database();
    let from = sqlite_in(before.folder());
    let moved = before.command(&["move", "--from", &from, "--to", &to, "--json"]).output().expect("the binary runs");
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    let output: Value = serde_json::from_slice(&moved.stdout).expect("JSON");
    assert_eq!(output["tables"][0]["table"], "users");
    assert_eq!(output["tables"][0]["rows"], 2);
    assert!(!output.to_string().contains("only-for-tests"), "{output}");

    let after = secrets(app().on_sqlite()).env("DATABASE_URL", &to).start();
    let profile = call(&after, Method::GET, "/api/v1/auth/profile", &account.access, None).await;
    assert_eq!((profile.status, profile.body["data"]["user"]["email"].as_str()), (200, Some(account.email.as_str())));
    assert_eq!(call(&after, Method::GET, "/api/v1/auth/profile", &ended.access, None).await.status, 401);
    let refreshed = post(&after, "/api/v1/auth/refresh", &json!({ "refreshToken": account.refresh })).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    let login = post(&after, "/api/v1/auth/login", &json!({ "email": ended.email, "password": PASSWORD })).await;
    assert_eq!(login.status, 200, "{}", login.body);

    let wrong = before.command(&["move", "--from", &from, "--to", "postgres://ada:hunter2@db:port/gate"]).output();
    let wrong = wrong.expect("the binary runs");
    let output = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        wrong.status.code() == Some(1) && output.contains("--to cannot be used") && !output.contains("hunter2"),
        "{output}"
    );

    let again = before.command(&["move", "--from", &from, "--to", &to]).output().expect("the binary runs");
    let output = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(1));
    assert!(output.contains("is not empty: it holds 2 rows in users") && output.contains("hint:"), "{output}");
}

/// Copies the only user and the session 3,000 times, with other names.
const CROWD: &str = "
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30)
for table, changed in (('users', ('id', 'email', 'username')), ('sessions', ('id', 'user_id'))):
    rows = db.execute(f'SELECT * FROM {table}')
    names, row = [column[0] for column in rows.description], rows.fetchone()
    for number in range(3000):
        other = dict(zip(names, row))
        for name in changed:
            other[name] = b'%016d' % number if name.endswith('id') else f'{number}{other[name]}'
        marks = ', '.join('?' * len(names))
        db.execute(f'INSERT INTO {table} VALUES ({marks})', [other[name] for name in names])
db.commit()
";

/// Locks the sessions against writers until a table `let_go` exists, or two minutes have passed.
const HOLD: &str = "DO $$ BEGIN
  LOCK TABLE sessions IN EXCLUSIVE MODE;
  FOR turn IN 1..12000 LOOP
    EXIT WHEN EXISTS (SELECT 1 FROM pg_class WHERE relname = 'let_go');
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_move_continues_and_loses_nothing() {
    let before = secrets(app().on_sqlite()).start();
    let account = register(&before).await;
    let from = sqlite_in(before.folder());
    let file = from.trim_start_matches("sqlite://");
    assert!(Command::new("python3").args(["-c", CROWD, file]).status().expect("python3 runs").success());
    // The server is killed as well, so that its last writes are still in SQLite's log beside the file.
    assert!(Command::new("kill").args(["-9", &before.pid().to_string()]).status().expect("kill runs").success());
    assert!(Path::new(&format!("{file}-wal")).exists(), "the log is empty");

    let server = PrivatePostgres::shared();
    let to = server.database();
    let database = to.rsplit('/').next().expect("an address ends with its database").to_owned();
    let run =
        |arguments: &[&str]| before.command(arguments).env("DATABASE_URL", &to).output().expect("the binary runs");
    assert!(run(&["migrate", "up"]).status.success());
    let holder = {
        let (server, database) = (PrivatePostgres::shared(), database.clone());
        std::thread::spawn(move || server.run_sql_in(&database, HOLD))
    };
    let locks = |granted: bool| {
        let of_sessions = "FROM pg_locks WHERE relation = 'sessions'::regclass AND mode LIKE '%ExclusiveLock'";
        server.run_sql_in(&database, &format!("SELECT count(*) {of_sessions} AND granted = {granted}"))
    };
    wait_until("the sessions are locked", || locks(true) == "1");
    let mut moving = before.command(&["move", "--from", &from, "--to", &to]);
    let mut moving = moving.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
    wait_until("the move waits for the sessions", || locks(false) == "1");
    moving.kill().expect("the process is ours");
    moving.wait().expect("the process is ours");
    server.run_sql_in(&database, "CREATE TABLE let_go ()");
    holder.join().expect("the lock is released");

    let refused = run(&["serve"]);
    let output = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{output}");
    assert!(output.contains("a move into this database has not finished") && output.contains("hint:"), "{output}");
    let moved = before.command(&["move", "--from", &from, "--to", &to]).output().expect("the binary runs");
    let output = String::from_utf8_lossy(&moved.stderr).into_owned();
    assert!(moved.status.success(), "{output}");
    assert!(output.contains("users: 3001 rows, 3001 of them copied before\n"), "{output}");
    assert!(output.contains("sessions: 3001 rows\n"), "{output}");

    let after = secrets(app().on_sqlite()).env("DATABASE_URL", &to).start();
    let profile = call(&after, Method::GET, "/api/v1/auth/profile", &account.access, None).await;
    assert_eq!(profile.status, 200, "{}", profile.body);
    assert_eq!(server.run_sql_in(&database, "SELECT count(*) FROM users"), "3001");
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not seen in a minute: {what}");
    }
}
