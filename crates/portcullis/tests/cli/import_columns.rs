//! `portcullis users import` refuses columns that it does not know, so that no value is lost unnoticed.

use portcullis_testkit::PrivatePostgres;
use serde_json::{Value, json};

use crate::shell::{CommandOutput, Shell};

const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG";
const HEADER: &str = "email,username,firstName,lastName";

fn import(shell: &Shell, format: &str, input: &str, options: &[&str]) -> CommandOutput {
    shell.run_with(&[&["users", "import", "-", "--format", format, "--json"], options].concat(), input)
}

/// Checks that an import was refused for its columns and wrote nothing.
#[track_caller]
fn refused(shell: &Shell, output: CommandOutput, parts: &[&str]) {
    let output = output.failed();
    for part in parts {
        assert!(output.err.contains(part), "{part} in {}", output.err);
    }
    assert!(!output.err.contains("$2b$"), "a hash in {}", output.err);
    assert_eq!(shell.run(&["users", "export"]).ok().out, "", "users were written");
}

#[test]
fn unknown_columns_of_a_csv_are_refused_all_at_once() {
    let shell = Shell::migrated();
    let csv = format!("{HEADER},passwordHash,twitter\nada@example.com,ada,A,L,{BCRYPT},@ada\n");
    refused(
        &shell,
        import(&shell, "csv", &csv, &[]),
        &[
            "unknown column `passwordHash`: did you mean `password`?",
            "unknown column `twitter`: no column has a similar name",
            "nothing was imported",
            "--ignore-column passwordHash --ignore-column twitter",
        ],
    );
}

#[test]
fn an_unknown_member_of_the_last_line_is_refused_first() {
    let shell = Shell::migrated();
    let user = |n: usize| json!({ "email": format!("u{n}@example.com"), "username": format!("user{n}"), "firstName": "A", "lastName": "B" });
    let mut lines: String = (0..1_100).map(|n| format!("{}\n", user(n))).collect();
    lines.push_str("{\"email\":\"z@example.com\",\"encrypted_password\":\"$2b$04$x\"}\n");
    let parts = ["unknown column `encrypted_password`: did you mean `password`?"];
    refused(&shell, import(&shell, "ndjson", &lines, &[]), &parts);
    // A file is read twice without a copy, and refused alike.
    let shell = shell.file("users.ndjson", &lines);
    refused(&shell, shell.run(&["users", "import", "users.ndjson"]), &parts);
}

#[test]
fn ignored_columns_are_left_out_and_the_rest_is_imported() {
    let shell = Shell::migrated();
    let csv = format!("{HEADER},twitter,Last-Seen,password\nada@example.com,ada,A,L,@ada,now,{BCRYPT}\n");
    let ignore = ["--ignore-column", "twitter", "--ignore-column", "last_seen"];
    let output = import(&shell, "csv", &csv, &ignore).ok();
    assert_eq!(output.json()["imported"], 1);
    let line =
        json!({ "email": "ben@example.com", "username": "ben", "firstName": "B", "lastName": "F", "twitter": {} });
    assert_eq!(import(&shell, "ndjson", &line.to_string(), &ignore).ok().json()["imported"], 1);
    let users = shell.run(&["users", "export", "--with-password-hashes"]).ok().out;
    assert!(users.contains(BCRYPT) && users.contains("ben@example.com"), "{users}");
    let output = import(&shell, "csv", &csv, &["--ignore-column", "email"]).failed();
    assert!(output.err.contains("--ignore-column email cannot be used"), "{}", output.err);
}

#[test]
fn a_column_or_member_given_twice_is_refused() {
    let shell = Shell::migrated();
    let csv = format!("{HEADER},first_name\nada@example.com,ada,A,L,X\n");
    refused(&shell, import(&shell, "csv", &csv, &[]), &["two columns firstName"]);
    let line = r#"{"email":"a@example.com","email":"b@example.com","username":"ada","firstName":"A","lastName":"L"}"#;
    let report = shell.path("refused.ndjson").display().to_string();
    refused(&shell, import(&shell, "ndjson", line, &["--report", &report]), &["1 users were refused"]);
    let report = std::fs::read_to_string(report).expect("the report is written");
    assert!(report.contains("email is given twice"), "{report}");
}

#[test]
fn a_line_with_too_many_or_too_few_values_is_refused() {
    let shell = Shell::migrated();
    let csv = format!("{HEADER}\nada@example.com,ada,A,L,{BCRYPT}\nben@example.com,ben,B\ncarl@example.com,carl,C,G\n");
    let output = shell.run_with(&["users", "import", "-", "--format", "csv"], &csv).failed();
    assert!(output.out.starts_with("Imported 1 users"), "{}", output.out);
    for part in ["line 2, : the line has 5 values, the first line 4", "line 3, : the line has 3 values"] {
        assert!(output.err.contains(part), "{part} in {}", output.err);
    }
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let shell = Shell::migrated();
    let csv = "\u{feff}\"email\",username,firstName,lastName\nada@example.com,ada,A,L\n";
    assert_eq!(import(&shell, "csv", csv, &[]).ok().json()["imported"], 1);
    let line = json!({ "email": "ben@example.com", "username": "ben", "firstName": "B", "lastName": "F" });
    assert_eq!(import(&shell, "ndjson", &format!("\u{feff}{line}\n"), &[]).ok().json()["imported"], 1);
}

#[test]
fn other_separators_and_encodings_are_named() {
    let shell = Shell::migrated();
    let output = import(&shell, "csv", "email;username;firstName;lastName\na;b;c;d\n", &[]).failed();
    assert!(output.err.contains("not separated by commas"), "{}", output.err);
    std::fs::write(shell.path("wide.csv"), b"\xff\xfee\0m\0a\0i\0l\0").expect("the folder is writable");
    let output = shell.run(&["users", "import", "wide.csv"]).failed();
    assert!(output.err.contains("UTF-16"), "{}", output.err);
}

#[test]
fn an_option_of_another_source_is_refused() {
    let shell = Shell::migrated();
    let said = import(&shell, "csv", "", &["--table", "users"]).failed();
    assert!(said.err.contains("--table has no effect"), "{}", said.err);
    let said = shell.run(&["users", "import", "postgres://db/x", "--format", "csv"]).failed();
    assert!(said.err.contains("--format has no effect"), "{}", said.err);
}

#[test]
fn unknown_columns_of_a_table_are_refused() {
    let server = PrivatePostgres::shared();
    let old = server.database();
    let name = old.rsplit('/').next().expect("a name").to_owned();
    server.run_sql_in(
        &name,
        &format!(
            "CREATE TABLE people (id uuid DEFAULT gen_random_uuid(), email text, username text, first_name text, \
             last_name text, \"passwordHash\" text, phone text, avatar text, permissions text[]); \
             INSERT INTO people VALUES (DEFAULT, 'ada@example.com', 'ada', 'Ada', 'L', '{BCRYPT}', '1', '/a.png', \
             '{{USER_EDIT,PROJECT_VIEW}}')"
        ),
    );
    let shell = Shell::migrated();
    let run =
        |options: &[&str]| shell.run(&[&["users", "import", &old, "--table", "people", "--json"], options].concat());
    refused(&shell, run(&[]), &["`passwordHash`: did you mean `password`?", "unknown column `phone`"]);
    server.run_sql_in(&name, "ALTER TABLE people RENAME COLUMN \"passwordHash\" TO password");
    assert_eq!(run(&["--ignore-column", "phone"]).ok().json()["imported"], 1);
    let out = shell.run(&["users", "export", "--with-password-hashes"]).ok().out;
    let ada: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&ada["password"], &ada["avatar"]), (&json!(BCRYPT), &json!("/a.png")));
    assert_eq!(ada["permissions"], json!(["PROJECT_VIEW", "USER_EDIT"]));
}
