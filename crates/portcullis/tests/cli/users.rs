//! `portcullis users` and `portcullis audit`, with SQLite in the data folder.

use crate::shell::{CommandOutput, Shell};

const PASSWORD: &str = "correct horse battery staple\n";

fn create(shell: &Shell, email: &str, username: &str, role: &str, more: &[&str]) -> CommandOutput {
    let arguments = [
        &[
            "users",
            "create",
            "--email",
            email,
            "--username",
            username,
            "--first-name",
            "Ada",
            "--last-name",
            "Lovelace",
        ][..],
        &["--role", role, "--password-stdin"],
        more,
    ];
    shell.run_with(&arguments.concat(), PASSWORD)
}

#[test]
fn a_user_is_created_and_listed() {
    let shell = Shell::migrated();
    let made = create(&shell, "Ada@Example.com", "ada", "admin", &["--json"]).ok().json();
    assert_eq!(
        (made["user"]["email"].as_str(), made["user"]["role"].as_str()),
        (Some("ada@example.com"), Some("ADMIN"))
    );
    assert_eq!(made["user"]["isEmailVerified"], true);
    let output = create(&shell, "grace@example.com", "grace", "VIEWER", &[]).ok();
    assert!(output.out.starts_with("Created grace@example.com (grace), VIEWER, id "), "{}", output.out);
    let listed = shell.run(&["users", "list", "--json"]).ok().json();
    assert_eq!(listed["users"].as_array().map(Vec::len), Some(2));
    assert!(!listed.to_string().contains("argon2"), "a list has no password hashes");
    let admins = shell.run(&["users", "list", "--role", "ADMIN", "--json"]).ok().json();
    assert_eq!(admins["users"][0]["username"], "ada");
    let table = shell.run(&["users", "list"]).ok().out;
    assert!(table.starts_with("EMAIL") && table.contains("grace@example.com"), "{table}");
}

#[test]
fn an_invalid_user_is_refused_and_changes_nothing() {
    let shell = Shell::migrated();
    create(&shell, "ada@example.com", "ada", "DEVELOPER", &[]).ok();
    let output = create(&shell, "ADA@example.com", "other", "DEVELOPER", &[]).failed();
    assert!(
        output.err.starts_with("error: another user has this e-mail address or username\n  hint: "),
        "{}",
        output.err
    );
    create(&shell, "other@example.com", "ada", "DEVELOPER", &[]).failed();
    let output = create(&shell, "nobody", "x", "DEVELOPER", &[]).failed();
    assert!(
        output.err.contains("Email must be a valid email address") && output.err.contains("Username must be"),
        "{}",
        output.err
    );
    let arguments = ["users", "recover-admin", "--email", "ada@example.com", "--password-stdin"];
    for (input, word) in [("", "it is empty"), ("short\n", "Password must be 8 to 128 characters")] {
        let output = shell.run_with(&arguments, input).failed();
        assert!(output.err.contains(word), "{}", output.err);
    }
    let listed = shell.run(&["users", "list", "--json"]).ok().json();
    assert_eq!(listed["users"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["users"][0]["role"], "DEVELOPER");
}

#[test]
fn an_administrator_is_recovered() {
    let shell = Shell::migrated();
    create(&shell, "ada@example.com", "ada", "VIEWER", &[]).ok();
    let recover = |email: &str| {
        shell.run_with(
            &["users", "recover-admin", "--email", email, "--password-stdin", "--json"],
            "a new password it is\n",
        )
    };
    assert_eq!(recover("ada@example.com").ok().json()["user"]["role"], "ADMIN");
    let output = recover("nobody@example.com").failed();
    assert!(
        output.err.starts_with("error: no user has the e-mail address nobody@example.com\n  hint: "),
        "{}",
        output.err
    );
}

#[test]
fn an_invalid_data_folder_is_one_sentence_and_exit_code_1() {
    let output = Shell::new().file("portcullis-data", "in the way").run(&["migrate", "up"]).failed();
    assert!(output.err.starts_with("error: cannot make the data folder "), "{}", output.err);
    assert!(output.err.contains("  hint: name a folder that this user can write to"), "{}", output.err);
    let shell = Shell::new();
    shell.run(&["--data-dir", "elsewhere", "migrate", "up"]).ok();
    shell.run(&["--data-dir", "elsewhere", "users", "list"]).ok();
    assert!(shell.path("elsewhere/portcullis.db").exists() && !shell.path("portcullis-data").exists());
}

#[test]
fn sr_36_the_audit_log_is_exported_as_lines_oldest_first() {
    let shell = Shell::migrated();
    create(&shell, "ada@example.com", "ada", "ADMIN", &[]).ok();
    create(&shell, "ben@example.com", "ben", "VIEWER", &[]).ok();
    shell.run(&["users", "disable", "ben@example.com"]).ok();
    let export = |more: &[&str]| -> Vec<serde_json::Value> {
        let out = shell.run(&[&["audit", "export"], more].concat()).ok().out;
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let all = export(&[]);
    let actions: Vec<&str> = all.iter().filter_map(|line| line["action"].as_str()).collect();
    assert_eq!(actions, ["user.create", "user.create", "user.disable"]);
    assert_eq!(all[2]["userAgent"], "portcullis (command line)");
    assert_eq!(export(&["--action", "user.disable"]).len(), 1);
    assert_eq!(export(&["--to", "2020-01-01T00:00:00Z"]).len(), 0);
    assert_eq!(export(&["--user", all[0]["subjectId"].as_str().expect("an id")]).len(), 1);
    assert_eq!(shell.run(&["audit", "export", "--from", "yesterday"]).code, Some(2));
}
