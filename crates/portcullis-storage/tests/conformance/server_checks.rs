//! Servers and databases on which the program would fail later are refused at the start.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use portcullis_storage::OpenError;
use portcullis_testkit::PrivatePostgres;

use crate::test_database::TestDatabase;

/// Creates a role of this test's own and returns its name, and the address of a database for it.
fn role(server: &PrivatePostgres, address: &str, name: &str) -> (String, String) {
    let name = format!("{name}_{}", std::process::id());
    server.run_sql(&format!("CREATE ROLE {name} LOGIN PASSWORD 'hunter2'"));
    let address = address.replace("portcullis:only-for-tests@", &format!("{name}:hunter2@"));
    (name, address)
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let server = PrivatePostgres::shared();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("test_{}_{}", encoding.to_lowercase(), std::process::id());
        server.run_sql(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"));
        let error = TestDatabase::at(&server.url(&name)).open_error().await;
        assert!(matches!(&error, OpenError::Encoding { encoding: found, .. } if found == encoding), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("ENCODING 'UTF8'")));
    }
}

#[tokio::test]
async fn a_standby_is_refused() {
    let primary = PrivatePostgres::start();
    let address = primary.database();
    TestDatabase::at(&address).store().await.close().await;
    let standby = primary.standby();
    let name = address.rsplit('/').next().expect("a name");
    let error = TestDatabase::at(&standby.url(name)).open_error().await;
    assert!(matches!(error, OpenError::ReadOnly { is_standby: true, .. }), "{error:?}");
}

#[tokio::test]
async fn a_read_only_role_is_refused() {
    let server = PrivatePostgres::shared();
    let address = server.database();
    TestDatabase::at(&address).store().await.close().await;
    let (name, address) = role(&server, &address, "reader");
    server.run_sql(&format!("ALTER ROLE {name} SET default_transaction_read_only = on"));
    let error = TestDatabase::at(&address).open_error().await;
    assert!(matches!(error, OpenError::ReadOnly { is_standby: false, .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("default_transaction_read_only")));
    server.run_sql(&format!("DROP ROLE {name}"));
}

#[tokio::test]
async fn missing_rights_on_tables_are_named() {
    let server = PrivatePostgres::shared();
    let address = server.database();
    TestDatabase::at(&address).store().await.close().await;
    let database = address.rsplit('/').next().expect("a name").to_owned();
    let (name, limited) = role(&server, &address, "clerk");
    server.run_sql_in(
        &database,
        &format!(
            "GRANT USAGE ON SCHEMA public TO {name}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}; \
             REVOKE DELETE ON sessions FROM {name}; REVOKE INSERT ON audit_log FROM {name}"
        ),
    );
    let error = TestDatabase::at(&limited).open_error().await;
    let OpenError::TableRights { tables, .. } = &error else { panic!("{error:?}") };
    assert_eq!(tables, &["audit_log", "sessions"]);
    assert!(error.hint().is_some_and(|hint| hint.contains("GRANT SELECT, INSERT, UPDATE, DELETE")));
    server.run_sql_in(&database, &format!("DROP OWNED BY {name}; DROP ROLE {name}"));
}

#[tokio::test]
async fn settings_of_the_server_do_not_change_literals() {
    let server = PrivatePostgres::shared();
    let address = server.database();
    let (name, address) = role(&server, &address, "escapist");
    let database = address.rsplit('/').next().expect("a name").to_owned();
    server.run_sql_in(
        &database,
        &format!(
            "GRANT ALL ON SCHEMA public TO {name}; ALTER ROLE {name} SET standard_conforming_strings = off; \
             ALTER ROLE {name} SET timezone = 'Asia/Tokyo'; ALTER ROLE {name} SET datestyle = 'German'"
        ),
    );
    let db = TestDatabase::at(&address);
    let store = db.store().await;
    let ada = db.user("ada").first_name("back\\slash'").insert(&store).await;
    let read = store.user_by_id(ada.id).await.expect("reads").expect("is there");
    assert_eq!((read.first_name, read.created_at), (ada.first_name, ada.created_at));
    store.close().await;
    server.run_sql_in(&database, &format!("DROP OWNED BY {name}; DROP ROLE {name}"));
}

#[tokio::test]
async fn an_unreadable_certificate_is_named() {
    let server = PrivatePostgres::shared();
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("ca.pem");
    let address = format!("{}?sslmode=verify-full&sslrootcert={}", server.database(), missing.display());
    let error = TestDatabase::at(&address).open_error().await;
    assert!(matches!(&error, OpenError::TlsFile { option: "sslrootcert", path, .. } if *path == missing), "{error:?}");
}

#[tokio::test]
async fn ssl_true_connects_verified_or_not_at_all() {
    let (server, authority) = PrivatePostgres::start_with_tls();
    std::fs::set_permissions(&authority, Permissions::from_mode(0o644)).expect("it is ours");
    let error = TestDatabase::at(&format!("{}?ssl=true", server.database())).open_error().await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error:?}");
    let address = format!("{}?ssl=true&sslrootcert={}", server.database(), authority.display());
    TestDatabase::at(&address).store().await.close().await;
}
