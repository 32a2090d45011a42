//! `portcullis backup`: a backup is made, listed and checked; each failure is one sentence with a hint.

use std::fs;

use crate::shell::Shell;

/// A shell with a database and a folder for backups.
fn with_folder() -> Shell {
    let shell = Shell::migrated().env("PORTCULLIS__BACKUP__TO", "backups");
    fs::create_dir(shell.path("backups")).expect("the folder is writable");
    shell
}

#[test]
fn a_backup_is_made_listed_and_verified() {
    let shell = with_folder();
    let made = shell.run(&["backup", "create"]).ok();
    assert!(made.out.starts_with("Made portcullis-") && made.out.contains("the same ENCRYPTION_KEY:"), "{}", made.out);
    assert!(
        made.err.contains("users: 0 rows\n") && made.err.ends_with("writing the rest to the disk\n"),
        "{}",
        made.err
    );
    let second = shell.run(&["backup", "create", "--json"]).ok();
    assert_eq!(second.err, "");
    let second = second.json()["backup"].clone();
    let listed = shell.run(&["backup", "list", "--json"]).ok().json()["backups"].clone();
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    let known = listed.as_array().and_then(|list| list.iter().find(|backup| backup["id"] == second["id"]));
    for member in ["name", "createdAt", "sizeBytes", "engine", "schemaVersion", "rows"] {
        assert_eq!(known.expect("it is listed")[member], second[member], "{member}");
    }
    let id = second["id"].as_str().expect("a text");
    let verified = shell.run(&["backup", "verify", id, "--json"]).ok().json()["backup"].clone();
    assert_eq!((&verified["id"], &verified["rowsRead"]), (&second["id"], &true.into()));
    let newest = shell.run(&["backup", "verify"]).ok();
    assert!(newest.out.contains("every byte is authentic, and its "), "{}", newest.out);
    assert!(shell.run(&["backup", "list"]).ok().out.contains("  sqlite  "));
}

#[test]
fn a_backup_that_is_not_right_is_exit_code_1_with_a_hint() {
    let shell = with_folder();
    let name = shell.run(&["backup", "create", "--json"]).ok().json()["backup"]["name"].clone();
    let path = shell.path("backups").join(name.as_str().expect("a text"));
    let mut bytes = fs::read(&path).expect("readable");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).expect("writable");
    let error = shell.run(&["backup", "verify"]).failed().err;
    assert!(error.contains("cannot be used\n  because: it was changed after it was made: block 1"), "{error}");
    assert!(error.contains("  hint: use another backup, or another copy of this one\n"), "{error}");
    let shell = shell.env("ENCRYPTION_KEY", "pW4z8Lq2Vn6Xc0Tb9Ry3Kd7-of-another-installation");
    let error = shell.run(&["backup", "verify"]).failed().err;
    assert!(error.contains("because: it was made under another ENCRYPTION_KEY ("), "{error}");
    let listed = shell.run(&["backup", "list", "--json"]).ok().json();
    assert!(listed["backups"][0]["problem"].as_str().is_some_and(|text| text.contains("another ENCRYPTION_KEY")));
}

#[test]
fn what_is_missing_for_a_backup_is_said_with_a_hint() {
    let shell = Shell::new();
    let error = shell.run(&["backup", "list"]).failed().err;
    assert_eq!(
        error,
        "error: no folder for backups is set\n  hint: set backup.to to a folder, or PORTCULLIS__BACKUP__TO\n"
    );
    let shell = shell.env("PORTCULLIS__BACKUP__TO", "backups");
    let error = shell.run(&["backup", "create"]).failed().err;
    assert!(error.contains("there is no ENCRYPTION_KEY") && error.contains("hint: set ENCRYPTION_KEY"), "{error}");
    assert!(!shell.path("portcullis-data").exists(), "no key is made");
    shell.run(&["migrate", "up"]).ok();
    let error = shell.run(&["backup", "create"]).failed().err;
    assert!(error.contains("because: No such file") && error.contains("hint: create the folder"), "{error}");
    fs::create_dir(shell.path("backups")).expect("writable");
    let error = shell.run(&["backup", "verify"]).failed().err;
    assert!(error.contains("there is no backup in ") && error.contains("hint: make one with"), "{error}");
    let error = shell.run(&["backup", "verify", "../x"]).failed().err;
    assert!(error.contains("has the id ../x") && error.contains("`portcullis backup list` shows the ids"), "{error}");
}

#[test]
fn a_backup_is_restored_into_a_new_database() {
    let shell = with_folder();
    let user = ["--email", "ada@example.com", "--username", "ada", "--first-name", "Ada", "--last-name", "L"];
    let create = [&["users", "create", "--role", "ADMIN", "--password-stdin"][..], &user].concat();
    shell.run_with(&create, "a long password of hers\n").ok();
    let id = shell.run(&["backup", "create", "--json"]).ok().json()["backup"]["id"].clone();
    let id = id.as_str().expect("a text");
    let into = format!("sqlite://{}", shell.path("new.db").display());
    let full = shell.run(&["restore", id]).failed().err;
    assert!(full.contains("because: the database to restore into is not empty: it holds "), "{full}");
    assert!(full.contains("  hint: restore into an empty database: "), "{full}");
    let restored = shell.run(&["restore", id, "--into", &into, "--json"]).ok();
    assert_eq!((&restored.json()["restored"]["id"], restored.err.as_str()), (&id.into(), ""));
    let shell = shell.env("DATABASE_URL", &into);
    let users = shell.run(&["users", "list", "--json"]).ok().json()["users"].clone();
    assert_eq!(users[0]["email"], "ada@example.com");
    let error = shell.run(&["restore", "nowhere.backup"]).failed().err;
    assert!(error.contains("no backup in ") && error.contains("`portcullis backup list` shows the ids"), "{error}");
}
