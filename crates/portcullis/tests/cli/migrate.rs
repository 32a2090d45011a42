//! `portcullis migrate` on both engines.

use portcullis_testkit::{PrivatePostgres, free_port};

use crate::shell::Shell;

fn on(url: Option<&str>) -> Shell {
    match url {
        Some(url) => Shell::new().env("DATABASE_URL", url),
        None => Shell::new(),
    }
}

fn goes_up_and_down(url: Option<&str>, engine: &str) {
    let shell = on(url);
    let up = shell.run(&["migrate", "up"]).ok();
    assert!(up.out.starts_with("applied 0001 initial in "), "{}", up.out);
    let status = shell.run(&["migrate", "status", "--json"]).ok().json();
    let newest = status["known"].as_i64().expect("a number");
    assert_eq!((&status["engine"], &status["schema"]), (&engine.into(), &newest.into()));
    let nothing = format!("nothing to do: the database has schema {newest}\n");
    assert_eq!(shell.run(&["migrate", "up"]).ok().out, nothing);
    assert_eq!((&status["serves"], &status["pending"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(status["applied"][0]["appliedBy"], env!("CARGO_PKG_VERSION"));
    let table = shell.run(&["migrate", "status"]).ok().out;
    assert!(table.contains(&format!("schema {newest}, up to date")) && table.contains("0001"), "{table}");
    assert!(table.contains(&format!("{newest:04}")), "{table}");
    assert!(!table.contains("only-for-tests"), "{table}");

    let kept = shell.run(&["migrate", "down", "--to", "0"]).failed();
    assert!(kept.err.contains("add --yes") && kept.err.contains("nothing was changed"), "{}", kept.err);
    assert_eq!(shell.run(&["migrate", "status", "--json"]).ok().json()["schema"], newest);
    let down = shell.run(&["migrate", "down", "--to", "0", "--yes"]).ok();
    assert!(
        down.out.starts_with(&format!("undone {newest:04} ")) && down.out.contains("undone 0001 initial in "),
        "{}",
        down.out
    );
    assert_eq!(down.out.contains(&format!(".before-{newest:04}-")), engine == "sqlite", "{}", down.out);
    assert_eq!(shell.run(&["migrate", "status", "--json"]).ok().json()["schema"], 0);
    let plan = shell.run(&["migrate", "plan"]).ok().out;
    assert!(plan.contains("-- step 0001 initial\nBEGIN;\n") && plan.contains("CREATE TABLE users"), "{plan}");
    assert!(!plan.contains('{'), "{plan}");
    assert_eq!(shell.run(&["migrate", "plan", "--json"]).ok().json()["steps"][0]["version"], 1);
    let beyond = shell.run(&["migrate", "down", "--to", "99", "--yes"]).failed();
    assert!(beyond.err.contains("which is not above 99"), "{}", beyond.err);
    shell.run(&["migrate", "up", "--json"]).ok();
}

#[test]
fn the_schema_of_sqlite_goes_up_and_down() {
    goes_up_and_down(None, "sqlite");
}

#[test]
fn the_schema_of_postgresql_goes_up_and_down() {
    goes_up_and_down(Some(&PrivatePostgres::shared().database()), "postgresql");
}

#[test]
fn a_missing_database_is_not_created_by_reading_commands() {
    for command in [["migrate", "status"].as_slice(), &["migrate", "plan"], &["migrate", "down", "--to", "0", "--yes"]]
    {
        let shell = Shell::new();
        let output = shell.run(command).failed();
        assert!(output.err.contains("there is no database at") && output.err.contains("hint:"), "{}", output.err);
        assert!(!shell.path("portcullis-data").exists());
    }
}

#[test]
fn an_error_of_the_database_is_one_sentence_with_a_hint() {
    let server = PrivatePostgres::shared();
    let good = server.database();
    let role = format!("reader_{}", std::process::id());
    server.run_sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'only-for-tests'"));
    let cases = [
        (good.replace("only-for-tests", "hunter2"), "refuses the user", "check user and password"),
        (server.url("no_such_database"), "has no such database", "createdb no_such_database"),
        (
            format!("postgres://ada:hunter2@127.0.0.1:{}/gate", free_port()),
            "cannot reach PostgreSQL",
            "is the server running",
        ),
        ("postgres://ada:hunter2@no-such-host.invalid/gate".to_owned(), "cannot reach PostgreSQL", "host and port"),
        (good.replace("portcullis:", &format!("{role}:")), "may not change the schema", "GRANT CREATE"),
        ("mysql://ada:hunter2@db/gate".to_owned(), "database.url cannot be used", "sqlite:// or postgres://"),
    ];
    for (url, sentence, hint) in cases {
        for command in [["migrate", "up"].as_slice(), &["serve", "--port", "0"]] {
            let output = on(Some(&url)).env("PORTCULLIS__DATABASE__ACQUIRE_TIMEOUT", "2s").run(command).failed();
            assert!(output.err.contains(sentence) && output.err.contains(hint), "{command:?}: {}", output.err);
            assert!(!output.err.contains("hunter2") && !output.err.contains("only-for-tests"), "{}", output.err);
        }
    }
    let name = good.rsplit('/').next().expect("a name");
    let tables = server.run_sql_in(name, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'");
    assert_eq!(tables, "0", "something was changed");
}

#[test]
fn a_server_that_must_not_migrate_refuses_an_old_schema() {
    let server = PrivatePostgres::shared();
    let url = server.database();
    let output = on(Some(&url)).env("PORTCULLIS__DATABASE__MIGRATE", "off").run(&["serve", "--port", "0"]).failed();
    assert!(
        output.err.contains("database.migrate is off") && output.err.contains("portcullis migrate up"),
        "{}",
        output.err
    );
}

/// Commands that are not about the schema.
const OTHERS: [&[&str]; 6] = [
    &["users", "list"],
    &["users", "disable", "ada@example.com"],
    &["users", "export"],
    &["audit", "export"],
    &["keys", "list"],
    &["explain", "GET", "/", "--as", "ada@example.com"],
];

#[test]
fn other_commands_do_not_create_a_database() {
    let shell = Shell::new();
    for command in OTHERS {
        let said = shell.run(command).failed();
        assert!(
            said.err.contains("there is no database at ") && said.err.contains("portcullis migrate up"),
            "{}",
            said.err
        );
    }
    assert!(!shell.path("portcullis-data").exists());
}

fn other_commands_do_not_migrate(url: Option<&str>) {
    let shell = on(url);
    shell.run(&["migrate", "up"]).ok();
    shell.run(&["migrate", "down", "--to", "3", "--yes"]).ok();
    for command in OTHERS {
        let said = shell.run(command).failed();
        assert!(said.err.contains("the database has schema 3 and this version needs schema "), "{}", said.err);
        assert!(said.err.contains("hint: run `portcullis migrate up`"), "{}", said.err);
    }
    assert_eq!(shell.run(&["migrate", "status", "--json"]).ok().json()["schema"], 3);
    shell.run(&["migrate", "down", "--to", "0", "--yes"]).ok();
    let said = shell.run(OTHERS[0]).failed();
    assert!(said.err.contains("the database is empty and this version needs schema "), "{}", said.err);
}

#[test]
fn other_commands_do_not_migrate_sqlite() {
    other_commands_do_not_migrate(None);
}

#[test]
fn other_commands_do_not_migrate_postgresql() {
    other_commands_do_not_migrate(Some(&PrivatePostgres::shared().database()));
}
