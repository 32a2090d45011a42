//! Two installations in one PostgreSQL database, each in a schema of its own.

use portcullis_storage::OpenError;
use portcullis_testkit::PrivatePostgres;

use crate::notifications::{Listening, log_out};
use crate::test_database::{TestDatabase, seconds};
use crate::transfer::{fill, move_all, rows};

/// A database with two schemas.
struct TwoSchemas {
    server: PrivatePostgres,
    address: String,
}

impl TwoSchemas {
    fn new() -> Self {
        let server = PrivatePostgres::shared();
        let address = server.database();
        Self { server, address }
    }

    fn schema(&self, name: &str) -> TestDatabase {
        TestDatabase::at(&format!("{}?schema={name}", self.address))
    }

    fn run(&self, statement: &str) -> String {
        let name = self.address.rsplit('/').next().expect("a name");
        self.server.run_sql_in(name, statement)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_schema_is_created_and_holds_every_table() {
    let database = TwoSchemas::new();
    // The name is quoted: its capital letter and its blank stay.
    let store = database.schema("Auth%20Tables").store().await;
    store.ping().await.expect("reads");
    let count = |schema: &str| {
        database.run(&format!("SELECT count(*) FROM information_schema.tables WHERE table_schema = '{schema}'"))
    };
    assert!(count("Auth Tables").parse::<u32>().expect("a number") > 10);
    assert_eq!(count("public"), "0");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_of_one_database_share_no_rows() {
    let database = TwoSchemas::new();
    let (here, there) = (database.schema("a"), database.schema("b"));
    let (in_a, in_b) = (here.store().await, there.store().await);
    let ada = here.user("ada").insert(&in_a).await;
    assert!(in_b.user_by_id(ada.id).await.expect("reads").is_none());
    there.user("ada").insert(&in_b).await;
    in_a.close().await;
    in_b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_notified_of_its_own_entries_only() {
    let database = TwoSchemas::new();
    let (here, other) = (database.schema("a"), database.schema("b"));
    let (writer, reader, stranger) = (here.store().await, here.store().await, other.store().await);
    let (mut near, mut far) = (Listening::on(&reader), Listening::on(&stranger));
    near.reaches(1).await;
    far.reaches(1).await;
    let ada = here.user("ada").insert(&writer).await.id;
    log_out(&here, &writer, ada).await;
    near.reaches(2).await;
    // Notifications arrive in order: this one comes after any that the other schema had sent.
    let second = other.store().await;
    let ben = other.user("ben").insert(&second).await.id;
    log_out(&other, &second, ben).await;
    far.reaches(2).await;
    assert_eq!((near.count(), far.count()), (2, 2));
    near.stop().await;
    far.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_of_one_schema_does_not_hold_up_another() {
    let database = TwoSchemas::new();
    let (here, there) = (database.schema("a"), database.schema("b"));
    let (in_a, in_b) = (here.store().await, there.store().await);
    let mut tx = in_a.begin().await.expect("begins");
    tx.count_active_admins().await.expect("takes the lock of administrators");
    let mut other = in_b.begin().await.expect("begins");
    let taken = tokio::time::timeout(seconds(20), other.count_active_admins()).await;
    taken.expect("no timeout").expect("does not wait for the other schema");
    drop((tx, other));
    in_a.close().await;
    in_b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_moved_to_another_one_of_the_same_database() {
    let database = TwoSchemas::new();
    let (from, to) = (database.schema("a"), database.schema("b"));
    fill(&from, 40).await;
    let tables = move_all(&from, &to).await.expect("moves");
    assert_eq!(rows(&tables, "users"), 40);
    to.store().await.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_rights_on_the_schema_gets_a_hint() {
    let database = TwoSchemas::new();
    let name = format!("limited_{}", std::process::id());
    database.run(&format!("CREATE ROLE {name} LOGIN PASSWORD 'hunter2'; CREATE SCHEMA closed"));
    let address = database.address.replace("portcullis:only-for-tests@", &format!("{name}:hunter2@"));
    for schema in ["missing", "closed"] {
        let error = TestDatabase::at(&format!("{address}?schema={schema}")).open_error().await;
        assert!(matches!(error, OpenError::NoRights { .. }), "{schema}: {error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("GRANT CREATE")), "{error:?}");
    }
    database.run(&format!("DROP ROLE {name}"));
}
