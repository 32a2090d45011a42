//! PgBouncer in front of PostgreSQL, in each of its modes.

use portcullis_storage::{DatabaseUrl, EndReason, OpenError, PostgresUrl, Store};
use portcullis_testkit::{PgBouncer, PrivatePostgres};

use crate::notifications::{Listening, log_out};
use crate::test_database::{TestDatabase, commit, seconds};
use crate::transfer::error_of_move;

/// A database behind a pooler.
struct Pooled {
    server: PrivatePostgres,
    pooler: PgBouncer,
    direct: String,
}

impl Pooled {
    fn in_mode(mode: &str) -> Self {
        let server = PrivatePostgres::shared();
        let direct = server.database();
        let pooler = PgBouncer::start(server.port(), mode);
        Self { server, pooler, direct }
    }

    fn address(&self, options: &str) -> String {
        let direct = format!(":{}/", self.server.port());
        format!("{}{options}", self.direct.replace(&direct, &format!(":{}/", self.pooler.port())))
    }

    fn at(&self, options: &str) -> TestDatabase {
        TestDatabase::at(&self.address(options))
    }

    fn with_direct(&self, options: &str) -> TestDatabase {
        let direct = PostgresUrl::parse(&self.direct).expect("an address");
        let mut pooled = self.at(options);
        let url = PostgresUrl::parse(&self.address(options)).expect("an address");
        pooled.url = DatabaseUrl::Postgres { url: url.with_direct(direct).expect("both lead to one database") };
        pooled
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_session_mode_needs_no_setting() {
    let pooled = Pooled::in_mode("session");
    let store = pooled.at("").store().await;
    store.ping().await.expect("reads");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_transaction_mode_is_refused_by_name() {
    let pooled = Pooled::in_mode("transaction");
    let error = pooled.at("").open_error().await;
    assert!(matches!(error, OpenError::Pooler { .. }), "{error:?}");
    assert!(error.to_string().contains("PgBouncer"), "{error}");
    let hint = error.hint().expect("a hint");
    assert!(hint.contains("pgbouncer=true") && hint.contains("database.direct_url"), "{hint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_pooler_needs_a_direct_address_to_migrate() {
    let pooled = Pooled::in_mode("transaction");
    let error = pooled.at("?pgbouncer=true").open_error().await;
    assert!(matches!(error, OpenError::NeedsSession { .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("database.direct_url")), "{error:?}");
    pooled.with_direct("?pgbouncer=true").store().await.close().await;
    // The schema is up to date now, so the pooler alone is enough.
    pooled.at("?pgbouncer=true").store().await.close().await;
    let error = error_of_move(&pooled.at("?pgbouncer=true"), &TestDatabase::sqlite()).await;
    assert!(format!("{error:?}").contains("NeedsSession"), "{error:?}");
}

/// Signs in and out many times at once, over few connections to the server.
async fn work(db: &TestDatabase, store: &Store, name: String) {
    let user = db.user(&name).insert(store).await;
    for _ in 0..10 {
        let session = db.session(user.id).insert(store).await;
        let read = store.user_by_id(user.id).await.expect("reads").expect("is there");
        assert_eq!(read.username, user.username);
        assert!(commit(store, async |tx| tx.end_session(session.id, EndReason::Logout, db.now()).await).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_replicas_work_behind_a_pooler_in_transaction_mode() {
    let pooled = std::sync::Arc::new(Pooled::in_mode("transaction"));
    pooled.with_direct("?pgbouncer=true").store().await.close().await;
    let mut tasks = tokio::task::JoinSet::new();
    for replica in 0..4 {
        let pooled = std::sync::Arc::clone(&pooled);
        tasks.spawn(async move {
            let db = pooled.at("?pgbouncer=true");
            let store = db.store().await;
            for user in 0..3 {
                work(&db, &store, format!("user{replica}x{user}")).await;
            }
            store.close().await;
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_do_not_reach_other_clients_of_the_pooler() {
    let pooled = Pooled::in_mode("transaction");
    let store = pooled.with_direct("?pgbouncer=true&schema=auth").store().await;
    store.ping().await.expect("reads");
    let name = pooled.direct.rsplit('/').next().expect("a name");
    let of_server = pooled.server.run_sql_in(name, "SHOW statement_timeout");
    assert_eq!(pooled.pooler.run_sql(&pooled.address(""), "SHOW statement_timeout"), of_server);
    assert_eq!(pooled.pooler.run_sql(&pooled.address(""), "SHOW search_path"), "\"$user\", public");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_pass_the_pooler_by_the_direct_address() {
    let pooled = Pooled::in_mode("transaction");
    let db = pooled.with_direct("?pgbouncer=true");
    let (here, there) = (db.store().await, db.store().await);
    let mut far = Listening::on(&there);
    far.reaches(1).await;
    let ada = db.user("ada").insert(&here).await.id;
    log_out(&db, &here, ada).await;
    far.reaches(2).await;
    far.stop().await;
    // Without a direct address there is nothing to listen on, and the feed's readings are enough.
    let alone = pooled.at("?pgbouncer=true").store().await;
    let listening = alone.clone().listen(|| panic!("nothing notifies"), tokio_util::sync::CancellationToken::new());
    tokio::time::timeout(seconds(20), listening).await.expect("it returns at once");
}
