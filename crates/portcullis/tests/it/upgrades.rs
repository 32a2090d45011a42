//! Every release's database is opened, migrated and used by this version, on both engines. The databases are in
//! `tests/releases`; `make upgrade-fixture` makes one from a running gateway of its release.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use portcullis_model::{Clock, Timestamp};
use portcullis_testkit::{PrivateDatabase, TestApp};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{app, call, client, post, send};

/// Seconds.
const DAY: u64 = 86_400;

#[derive(Deserialize)]
struct Releases {
    releases: Vec<Release>,
}

#[derive(Deserialize)]
struct Release {
    version: String,
    schema: i64,
}

/// What a client of the release kept, and what its database held.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Planted {
    made_at: String,
    environment: BTreeMap<String, String>,
    kept: BTreeMap<String, String>,
    rows: BTreeMap<String, i64>,
}

fn in_tree(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(in_tree(path)).unwrap_or_else(|error| {
        panic!("{path}: {error}. hint: `make upgrade-fixture` makes the fixture of a release (docs/upgrading.md)")
    })
}

fn releases() -> Vec<Release> {
    toml::from_str::<Releases>(&read("../../deploy/releases.toml")).expect("the list of releases is valid").releases
}

/// Moves every day in a dump by whole days, so that its newest rows are less than a day old, as at an upgrade.
fn moved_to_today(dump: &str, made_at: Timestamp) -> String {
    let age = (Clock::system().now() - made_at).to_std().unwrap_or_default();
    let by = Duration::from_secs(age.as_secs() / DAY * DAY);
    let mut parts = dump.split("'2");
    let mut moved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let day = part.get(..9).and_then(|day| format!("2{day}T00:00:00Z").parse::<Timestamp>().ok());
        match day {
            Some(day) => {
                moved.push('\'');
                moved.push_str(&(day + by).to_rfc3339()[..10]);
                moved.push_str(&part[9..]);
            }
            None => {
                moved.push_str("'2");
                moved.push_str(part);
            }
        }
    }
    moved
}

/// Every column and index of a database, as its engine describes them.
async fn described(database: &PrivateDatabase) -> BTreeSet<String> {
    let text = if database.url().starts_with("sqlite:") {
        // A table that was renamed is quoted.
        "SELECT replace(sql, '\"', '') FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    } else {
        "SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default, identity_generation) \
         FROM information_schema.columns WHERE table_schema = 'public' \
         UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' \
         UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint \
         WHERE connamespace = 'public'::regnamespace"
    };
    database.connect().await.texts(text).await.into_iter().collect()
}

async fn assert_rows(database: &PrivateDatabase, planted: &Planted) {
    let mut on = database.connect().await;
    for (table, rows) in &planted.rows {
        assert!(*rows > 0, "the fixture has no row in {table}");
        if table != "schema_migrations" {
            assert_eq!(on.number(&format!("SELECT count(*) FROM {table}")).await, *rows, "rows of {table}");
        }
    }
}

/// Restores the database of a release, migrates it with this version, and uses it as the clients of the release would.
async fn is_opened(release: &Release, engine: &str, make: fn() -> PrivateDatabase) {
    let folder = format!("tests/releases/{}/{engine}", release.version);
    let planted: Planted = serde_json::from_str(&read(&format!("{folder}.json"))).expect("the fixture is valid");
    let (database, fresh) = (make(), make());
    let made_at = planted.made_at.parse().expect("the fixture names its time");
    database.restore(&moved_to_today(&read(&format!("{folder}.sql")), made_at)).await;
    assert_rows(&database, &planted).await;
    let on = |database: &PrivateDatabase| {
        let gateway = app().env("DATABASE_URL", database.url());
        planted.environment.iter().fold(gateway, |gateway, (name, value)| gateway.env(name, value.as_str()))
    };
    let gateway = on(&database);
    let run = |arguments: &[&str]| {
        let output = gateway.command(arguments).output().expect("the binary was built");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    assert_eq!(run(&["migrate", "status", "--json"])["schema"], release.schema, "{engine}");
    if releases().last().is_some_and(|last| last.version == release.version) {
        let check = run(&["upgrade-check", "--json"]);
        assert_eq!(check["mayRoll"], true, "the last release cannot be upgraded without a stop: {check}");
    }
    run(&["migrate", "up", "--json"]);
    assert_rows(&database, &planted).await;
    let migrated = on(&fresh).command(&["migrate", "up"]).output().expect("the binary was built");
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let (ours, new) = (described(&database).await, described(&fresh).await);
    let differences: Vec<_> = ours.symmetric_difference(&new).collect();
    assert!(differences.is_empty(), "a released migration was edited: {differences:#?}");

    serves_its_clients(&gateway.start(), &planted.kept).await;
}

/// The password, the session and the API key of before the upgrade are good, and what had ended stays ended.
async fn serves_its_clients(app: &TestApp, kept: &BTreeMap<String, String>) {
    let login = post(app, "/api/v1/auth/login", &json!({ "email": kept["email"], "password": kept["password"] })).await;
    assert_eq!(login.status, 200, "{}", login.body);
    let refreshed = post(app, "/api/v1/auth/refresh", &json!({ "refreshToken": kept["refreshToken"] })).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    let access = refreshed.body["data"]["tokens"]["accessToken"].as_str().expect("a token");
    let profile = call(app, Method::GET, "/api/v1/auth/profile", access, None).await;
    assert_eq!(profile.body["data"]["user"]["email"], kept["email"].as_str(), "{}", profile.body);
    let granted = call(app, Method::GET, "/api/v1/audit-logs", access, None).await;
    assert_eq!(granted.status, 200, "{}", granted.body);
    let by_key = send(client().get(app.url("/api/v1/auth/profile")).header("x-api-key", &kept["apiKey"])).await;
    assert_eq!(by_key.status, 200, "{}", by_key.body);
    let ended = post(app, "/api/v1/auth/refresh", &json!({ "refreshToken": kept["endedRefreshToken"] })).await;
    assert_eq!(ended.status, 401, "{}", ended.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_version_opens_the_sqlite_database_of_each_release() {
    for release in releases() {
        is_opened(&release, "sqlite", PrivateDatabase::sqlite).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_version_opens_the_postgresql_database_of_each_release() {
    for release in releases() {
        is_opened(&release, "postgresql", PrivateDatabase::postgres).await;
    }
}

/// Otherwise the next migration would be tried on no database of the release before it.
#[test]
fn each_version_of_the_changelog_is_in_the_list_of_releases() {
    let changelog = read("../../CHANGELOG.md");
    let mut sections = changelog.split("\n## [").skip(1);
    let unreleased = sections.next().and_then(|section| section.strip_prefix("Unreleased]")).expect("it comes first");
    let listed: Vec<String> = releases().into_iter().map(|release| release.version).collect();
    // The commit of a release cannot name itself. The first change after it adds it to the list.
    if !unreleased.trim().is_empty() {
        for version in sections.filter_map(|section| section.split(']').next()) {
            assert!(
                listed.iter().any(|known| known == version),
                "{version} is not in deploy/releases.toml. hint: docs/upgrading.md, \"After a release\""
            );
        }
    }
}

#[test]
fn the_days_of_a_dump_are_moved_and_nothing_else() {
    let dump = "INSERT INTO a VALUES('2026-11-28T03:04:05.000001Z','2b','x2026-11-28',X'27','2');";
    let now = Clock::system().now();
    assert_eq!(moved_to_today(dump, now), dump);
    let made_at = now - Duration::from_secs(DAY * 2 + 5);
    assert_eq!(moved_to_today(dump, made_at), dump.replace("'2026-11-28T", "'2026-11-30T"));
}
