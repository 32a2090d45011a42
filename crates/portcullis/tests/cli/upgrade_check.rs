//! `portcullis upgrade-check` on both engines.

use portcullis_testkit::PrivateDatabase;

use crate::shell::Shell;

async fn answers_by_its_exit_code(shell: &Shell, database: &PrivateDatabase, engine: &str) {
    let empty = shell.run(&["upgrade-check"]).ok().out;
    assert!(empty.ends_with("is empty: there is nothing to roll over\n"), "{empty}");
    shell.run(&["migrate", "up"]).ok();
    let same = shell.run(&["upgrade-check", "--json"]).ok().json();
    assert_eq!((&same["mayRoll"], &same["engine"]), (&true.into(), &engine.into()), "{same}");
    assert_eq!((&same["schema"], &same["problems"]), (&same["known"], &serde_json::json!([])), "{same}");
    let said = shell.run(&["upgrade-check"]).ok().out;
    assert!(said.contains(" may roll over ") && said.ends_with("nothing to migrate\n"), "{said}");
    assert!(!said.contains("only-for-tests"), "{said}");

    // A newer version applied a step that only adds, then one that takes something away.
    let ledger = "INSERT INTO schema_migrations (version, name, applied_at, applied_by, runs_since) \
                  SELECT {version}, '{name}', applied_at, '9.9.9', {runs_since} FROM schema_migrations WHERE version = 1";
    let mut on = database.connect().await;
    let applied = |version: &str, name: &str, runs_since: &str| {
        ledger.replace("{version}", version).replace("{name}", name).replace("{runs_since}", runs_since)
    };
    on.run(&applied("998", "more", "1")).await;
    let newer = shell.run(&["upgrade-check"]).ok().out;
    assert!(newer.contains("schema 998 of a newer version, which may run beside this one"), "{newer}");
    on.run(&applied("999", "less", "999")).await;
    let refused = shell.run(&["upgrade-check", "--json"]).failed();
    assert!(refused.err.contains("9.9.9 applied the contract step 0999 (less)\n  hint: "), "{}", refused.err);
    let problem = &refused.json()["problems"][0];
    assert!(problem["problem"].as_str().is_some_and(|text| text.contains("contract step")), "{problem}");
    assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("start the newer version")), "{problem}");
    let start = shell.run(&["serve", "--port", "0"]).failed();
    assert!(start.err.contains("contract step 0999 (less)") && start.err.contains("hint:"), "{}", start.err);
}

#[tokio::test]
async fn upgrade_check_answers_for_sqlite() {
    let shell = Shell::new();
    let database = PrivateDatabase::at_file(&shell.path("portcullis-data/portcullis.db"));
    answers_by_its_exit_code(&shell, &database, "sqlite").await;
}

#[tokio::test]
async fn upgrade_check_answers_for_postgresql() {
    let database = PrivateDatabase::postgres();
    let shell = Shell::new().env("DATABASE_URL", database.url());
    answers_by_its_exit_code(&shell, &database, "postgresql").await;
}

#[test]
fn upgrade_check_tells_what_it_cannot_reach() {
    let shell = Shell::new().env("DATABASE_URL", "postgres://ada:hunter2@no-such-host.invalid/gate");
    let refused = shell.run(&["upgrade-check", "--json"]).failed();
    assert_eq!((&refused.json()["mayRoll"], &refused.json()["schema"]), (&false.into(), &serde_json::Value::Null));
    assert!(refused.err.contains("cannot reach PostgreSQL") && !refused.err.contains("hunter2"), "{}", refused.err);
    assert_eq!(Shell::new().run(&["upgrade-check", "--nonsense"]).code, Some(2));
}

/// A clock that shows 1970, as on a machine without a battery and without a network.
#[test]
fn a_clock_before_the_last_release_is_refused_in_one_sentence() {
    let folder = std::fs::read_dir("/usr/lib").expect("the folder exists").flatten();
    let mut libraries = folder.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let library = libraries.find(|path| path.exists()).expect("hint: apt-get install libfaketime");
    let shell = Shell::migrated().env("LD_PRELOAD", &library.to_string_lossy()).env("FAKETIME", "@1970-01-02 00:00:00");
    for arguments in [["upgrade-check"].as_slice(), &["serve", "--port", "0"]] {
        let refused = shell.run(arguments).failed();
        assert!(refused.err.contains("the clock says 1970-01-0"), "{}", refused.err);
        assert!(refused.err.contains("hint: set the clock"), "{}", refused.err);
    }
}
