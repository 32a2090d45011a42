//! The login to PostgreSQL is replaced while the store is in use.

use portcullis_storage::DatabaseUrl;
use portcullis_testkit::{PrivatePostgres, Stopwatch};

use crate::test_database::{TestDatabase, seconds};

/// The address with another login, or another database.
fn parsed(url: &str) -> DatabaseUrl {
    DatabaseUrl::parse(url).expect("an address")
}

#[tokio::test]
async fn another_login_is_used_and_the_old_one_let_go() {
    let server = PrivatePostgres::shared();
    let url = server.database();
    let (_, place) = url.split_once('@').expect("the URL has a login");
    let name = place.rsplit('/').next().expect("the URL names a database");
    let (first, second) = (format!("{name}_first"), format!("{name}_second"));
    for user in [&first, &second] {
        server.run_sql(&format!("CREATE ROLE \"{user}\" SUPERUSER LOGIN PASSWORD 'right'"));
    }
    let login = |user: &str, password: &str| format!("postgres://{user}:{password}@{place}");
    // A connection that was closed is counted until its process has ended.
    let wait_for_connections = |user: &str, expected: &str| {
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}'");
        let stopwatch = Stopwatch::start();
        while server.run_sql(&count) != expected {
            assert!(stopwatch.elapsed() < seconds(60), "{user} has not {expected} connections");
        }
    };
    let db = TestDatabase::at(&login(&first, "right"));
    let store = db.store().await;
    store.ping().await.expect("the database answers");
    wait_for_connections(&first, "1");

    let refused = store.replace_login(&parsed(&login(&second, "hunter2"))).await.expect_err("the password is wrong");
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
    store.ping().await.expect("the old login stays");
    wait_for_connections(&second, "0");

    assert!(store.replace_login(&parsed(&login(&second, "right"))).await.expect("it is right"));
    store.ping().await.expect("the new login is used");
    wait_for_connections(&first, "0");
    wait_for_connections(&second, "1");
    server.run_sql(&format!("ALTER ROLE \"{first}\" NOLOGIN"));
    store.ping().await.expect("the old login is not needed");
    store.begin().await.expect("begins").commit().await.expect("commits");

    assert!(!store.replace_login(&parsed(&url.replace(name, "other"))).await.expect("nothing is tried"));
    assert!(!store.replace_login(&DatabaseUrl::sqlite("/nowhere.db")).await.expect("nothing is tried"));
    store.close().await;
}
