//! No frequent statement reads a whole table that grows. `docs/query-plans.md` shows the plans; `UPDATE_DOCS=1` rewrites
//! the page.

mod counts;
mod filled_database;
mod page;
mod recorder;
mod use_cases;

use std::path::PathBuf;

use portcullis_model::Timestamp;
use portcullis_testkit::{PrivatePostgres, RawConnection};
use sqlx::{AssertSqlSafe, Executor, Row};

use crate::test_database::TestDatabase;
use page::UseCase;

/// Tables that grow with the number of users or with time. `sign_in_attempts` is left out: its rows are so short that 5,000
/// of them are read sooner as a whole.
const GROWING_TABLES: [&str; 11] = [
    "api_keys",
    "idempotency_keys",
    "known_clients",
    "users",
    "sessions",
    "revocations",
    "audit_log",
    "mail_outbox",
    "one_time_tokens",
    "refresh_grace",
    "user_permissions",
];

/// PostgreSQL then sends the plan of each statement as a notice, with the values that were bound.
const AUTO_EXPLAIN: &str = "options=-c%20session_preload_libraries%3Dauto_explain\
    %20-c%20auto_explain.log_min_duration%3D0%20-c%20client_min_messages%3Dlog";

/// Returns whether a line of a plan reads every row of a table that grows.
fn reads_whole_table(line: &str) -> bool {
    let line = line.trim().trim_start_matches("->").trim();
    let table = line.strip_prefix("Seq Scan on ").or_else(|| {
        // SQLite also calls a walk along an index SCAN, which is not meant here.
        line.strip_prefix("SCAN ").filter(|rest| !rest.contains("USING"))
    });
    table.and_then(|rest| rest.split(' ').next()).is_some_and(|table| GROWING_TABLES.contains(&table))
}

async fn plans_on_sqlite() -> Vec<UseCase> {
    let db = TestDatabase::sqlite();
    let store = filled_database::open(&db).await;
    let statements = use_cases::run(&store).await;
    let mut raw = db.raw().await;
    let mut explained = Vec::new();
    for UseCase { title, statements } in statements {
        let mut with_plans = Vec::new();
        for (text, _) in statements {
            let plan = sqlite_plan(&mut raw, &text, db.now()).await;
            with_plans.push((text, plan));
        }
        explained.push(UseCase { title, statements: with_plans });
    }
    explained
}

/// Returns SQLite's plan of a statement. SQLite estimates from the bound values how many rows match; each parameter is
/// bound to the present time, after which there are few rows, as in the use cases.
async fn sqlite_plan(raw: &mut RawConnection, text: &str, now: Timestamp) -> Vec<String> {
    let RawConnection::Sqlite(connection) = raw else { unreachable!("it is SQLite") };
    let parameters = (1..).take_while(|n| text.contains(&format!("${n}"))).count();
    let now = now.to_rfc3339();
    let mut query = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}")));
    for _ in 0..parameters {
        query = query.bind(&now);
    }
    connection.fetch_all(query).await.expect("explains").iter().map(|row| row.get("detail")).collect()
}

async fn plans_on_postgresql() -> Vec<UseCase> {
    let server = PrivatePostgres::shared();
    let url = server.database();
    filled_database::open(&TestDatabase::at(&url)).await.close().await;
    let explaining = format!("{url}?{AUTO_EXPLAIN}");
    use_cases::run(&TestDatabase::at(&explaining).store().await).await
}

#[tokio::test]
async fn no_frequent_statement_reads_a_whole_growing_table() {
    let (sqlite, postgres) = (plans_on_sqlite().await, plans_on_postgresql().await);
    for UseCase { title, statements } in sqlite.iter().chain(&postgres) {
        assert!(!statements.is_empty(), "{title}: no statement was recorded");
        for (text, plan) in statements {
            assert!(!plan.is_empty() || !page::is_shown(text), "{title}: no plan of {text}");
            assert!(!plan.iter().any(|line| reads_whole_table(line)), "{title}: {text}\n{}", plan.join("\n"));
        }
    }
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/query-plans.md"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, page::render(&sqlite, &postgres)).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    for UseCase { title, statements } in &sqlite {
        for (text, _) in statements.iter().filter(|(text, _)| page::is_shown(text)) {
            let is_there = written.contains(&page::wrapped(text));
            assert!(is_there, "docs/query-plans.md lacks a statement of {title:?}; UPDATE_DOCS=1 rewrites it");
        }
    }
}

#[test]
fn a_scan_of_a_whole_table_is_recognised() {
    for line in ["Seq Scan on users", "  ->  Seq Scan on sessions s", "SCAN audit_log", "SCAN users"] {
        assert!(reads_whole_table(line), "{line}");
    }
    for line in [
        "Index Scan using users_email on users",
        "SEARCH users USING INDEX users_email (email=?)",
        "SCAN audit_log USING INDEX audit_log_at",
        "SCAN clock",
        "Seq Scan on signing_keys",
    ] {
        assert!(!reads_whole_table(line), "{line}");
    }
}
