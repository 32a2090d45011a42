//! `portcullis users import` and `export`: users keep their ids and passwords.

use std::fmt::Write as _;

use portcullis_testkit::{PASSWORD, PrivatePostgres, TestAppBuilder};
use serde_json::{Value, json};

use crate::shell::Shell;

/// The bcrypt hash of `correct horse battery staple`, made by another program.
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG";
const ADA: &str = "018f0000-0000-7000-8000-00000000ada0";

fn import(shell: &Shell, arguments: &[&str], input: &str) -> (Value, String, Option<i32>) {
    let output = shell.run_with(&[&["users", "import"], arguments, &["--json"]].concat(), input);
    (output.json(), output.err, output.code)
}

fn exported(shell: &Shell) -> Vec<Value> {
    let out = shell.run(&["users", "export", "--with-password-hashes"]).ok().out;
    out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn on_both(test: fn(Shell)) {
    test(Shell::migrated());
    test(Shell::migrated_at(&PrivatePostgres::shared().database()));
}

#[test]
fn a_csv_is_read_by_its_names_and_bad_rows_are_refused() {
    on_both(|shell| {
        let csv = format!(
            "EMAIL,username,first_name,lastName,Password,role,isActive,isEmailVerified,createdAt,id\n\
             Ada@Example.com,Ada,Ada,\"Lovelace, Countess\",{BCRYPT},admin,true,t,2020-02-29 12:34:56.5,{ADA}\n\
             ada@example.com,other,Ada,L,,,,,,\n\
             ben@example.com,ada,Ben,F,,,,,,\n\
             carl@example.com,carl,Carl,G,plain text,,,,,\n\
             dora@example.com,dora,Dora,K,$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW,,,,,\n\
             not-an-address,x,,,,BOSS,maybe,,someday,not-a-uuid\n\
             emil@example.com,emil,Emil,N,,,,,,{ADA}\n\
             fred@example.com,fred,Fred,G,,viewer,no,,,\n"
        );
        let shell = shell.file("users.csv", &csv);
        let (dry_run, _, _) = import(&shell, &["users.csv", "--dry-run"], "");
        assert_eq!((&dry_run["imported"], &dry_run["refused"]), (&json!(2), &json!(6)), "{dry_run}");
        assert!(exported(&shell).is_empty(), "a dry run changed something");
        let (told, err, code) = import(&shell, &["users.csv", "--report", "refused.ndjson"], "");
        assert_eq!((&told["imported"], &told["alreadyThere"], &told["refused"]), (&json!(2), &json!(0), &json!(6)));
        assert!(code == Some(1) && err.contains("6 users were refused") && err.contains("hint:"), "{err}");
        let report = std::fs::read_to_string(shell.path("refused.ndjson")).expect("written");
        for (line, reason) in [
            (3, "another user has this email address after normalisation"),
            (4, "another user has this username after normalisation"),
            (5, "it is not a complete argon2, bcrypt, scrypt or PBKDF2 hash"),
            (6, "would take too much time or memory"),
            (7, "isActive must be true or false"),
            (8, "another user has this id"),
        ] {
            let found = report.lines().find(|text| text.contains(&format!("\"line\":{line},")));
            assert!(found.is_some_and(|text| text.contains(reason)), "{line} {reason}: {report}");
        }
        assert!(!report.contains("$2b$") && !report.contains("plain text"), "a hash in the report: {report}");

        let made = exported(&shell);
        let ada = made.iter().find(|user| user["username"] == "ada").expect("made");
        assert_eq!((&ada["id"], &ada["role"], &ada["password"]), (&json!(ADA), &json!("ADMIN"), &json!(BCRYPT)));
        assert_eq!((&ada["lastName"], &ada["isEmailVerified"]), (&json!("Lovelace, Countess"), &json!(true)));
        assert_eq!(ada["createdAt"], "2020-02-29T12:34:56.500Z");
        let fred = made.iter().find(|user| user["username"] == "fred").expect("made");
        assert_eq!((&fred["isActive"], &fred["password"]), (&json!(false), &Value::Null));

        let (again, _, _) = import(&shell, &["users.csv"], "");
        assert_eq!((&again["imported"], &again["alreadyThere"]), (&json!(0), &json!(1)), "fred had no id: {again}");
    });
}

#[test]
fn an_export_is_imported_unchanged() {
    on_both(|shell| {
        let first = json!({
            "id": ADA, "email": "zoë@bücher.example", "username": "zoe", "firstName": "Zoë", "lastName": "\"K\", the",
            "password": BCRYPT, "role": "MANAGER", "isActive": true, "isEmailVerified": true,
            "createdAt": "2021-01-01T00:00:00.000Z", "avatar": "/zoe.png", "permissions": ["USER_DELETE", "PROJECT_VIEW"],
        });
        let (told, _, code) = import(&shell, &["-", "--format", "ndjson"], &format!("{first}\n\n"));
        assert_eq!((&told["imported"], code), (&json!(1), Some(0)), "{told}");
        let before = exported(&shell);
        let without = shell.run(&["users", "export"]).ok().out;
        assert!(!without.contains("$2b$"), "hashes only when asked for: {without}");
        for format in ["csv", "ndjson"] {
            let out = shell.run(&["users", "export", "--with-password-hashes", "--format", format]).ok().out;
            let other = Shell::migrated();
            let (told, _, code) = import(&other, &["-", "--format", format], &out);
            assert_eq!((&told["imported"], code), (&json!(1), Some(0)), "{told}");
            assert_eq!(exported(&other), before, "{format}");
        }
    });
}

#[test]
fn invalid_lines_are_refused_and_the_others_are_imported() {
    let shell = Shell::migrated();
    let good = json!({ "email": "ada@example.com", "username": "ada", "firstName": "A", "lastName": "L" });
    let lines = format!("[]\n{{\"email\": 5}}\nnonsense {BCRYPT}\n{good}\n{{\"email\":\"x\0@example.com\"}}\n");
    let output = shell.run_with(&["users", "import", "-", "--format", "ndjson"], &lines).failed();
    assert!(output.out.starts_with("Imported 1 users"), "{}", output.out);
    for part in ["line 1", "line 2", "email must be a text", "line 3", "line 5"] {
        assert!(output.err.contains(part), "{part}: {}", output.err);
    }
    assert!(!output.err.contains(BCRYPT), "{}", output.err);
    for (arguments, told) in [
        (&["nowhere.csv"][..], "nowhere.csv cannot be read"),
        (&["users.xlsx"], "add --format"),
        (&["postgres://nobody@127.0.0.1:1/x"], "cannot reach PostgreSQL"),
    ] {
        let output = shell.run(&[&["users", "import"], arguments].concat()).failed();
        assert!(output.err.contains(told) && output.err.contains("error:"), "{}", output.err);
    }
    let shell = shell.file("headless.csv", "ada@example.com,ada\n");
    let output = shell.run(&["users", "import", "headless.csv"]).failed();
    assert!(output.err.contains("does not name email, username, firstName, lastName"), "{}", output.err);
}

#[test]
fn users_of_another_programs_table_are_imported_and_sign_in() {
    let server = PrivatePostgres::shared();
    let old = server.database();
    let name = old.rsplit('/').next().expect("a name").to_owned();
    server.run_sql_in(
        &name,
        "CREATE TYPE role AS ENUM ('ADMIN', 'DEVELOPER'); \
         CREATE TABLE users (id uuid PRIMARY KEY, email varchar(255), username varchar(50), \"firstName\" varchar(50), \
         \"lastName\" varchar(50), password varchar(255), role role, \"isActive\" boolean, \"isEmailVerified\" boolean, \
         \"createdAt\" timestamp)",
    );
    let mut rows =
        String::from("INSERT INTO users SELECT gen_random_uuid(), 'p' || i || '@example.com', 'p0' || i, 'A', 'B', ");
    let _ = write!(
        rows,
        "'{BCRYPT}', 'DEVELOPER', TRUE, TRUE, TIMESTAMP '2020-01-01' + i * INTERVAL '1 s' FROM generate_series(1, 2500) i; \
         INSERT INTO users VALUES ('{ADA}', 'ADA@example.com', 'ada', 'Ada', 'Lovelace', '{BCRYPT}', 'ADMIN', TRUE, TRUE, '2020-01-01')"
    );
    server.run_sql_in(&name, &rows);

    let builder = TestAppBuilder::new(env!("CARGO_BIN_EXE_portcullis"));
    let app = builder.start();
    let told = app.run(&["users", "import", &old, "--json"], "");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["imported"], &told["refused"]), (&json!(2501), &json!(0)), "{told}");
    let again: Value = serde_json::from_str(&app.run(&["users", "import", &old, "--json"], "")).expect("JSON");
    assert_eq!((&again["imported"], &again["alreadyThere"]), (&json!(0), &json!(2501)), "{again}");

    let body = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    let out = std::process::Command::new("curl")
        .args(["-s", &app.url("/api/v1/auth/login"), "-H", "content-type: application/json", "-d", &body])
        .output()
        .expect("curl runs");
    let answer: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let user = &answer["data"]["user"];
    assert_eq!(
        (&user["id"], &user["role"], &user["createdAt"]),
        (&json!(ADA), &json!("ADMIN"), &json!("2020-01-01T00:00:00.000Z"))
    );

    let shell = Shell::migrated();
    let output = shell.run(&["users", "import", &old, "--table", "no_such"]).failed();
    assert!(output.err.contains("no_such") && output.err.contains("hint:"), "{}", output.err);
}

#[test]
fn users_are_disabled_enabled_and_given_roles_and_links() {
    on_both(|shell| {
        let rows = format!(
            "email,username,firstName,lastName,role,password\nada@example.com,ada,A,L,ADMIN,{BCRYPT}\n\
             ben@example.com,ben,B,F,VIEWER,\n"
        );
        import(&shell, &["-", "--format", "csv"], &rows);
        let run = |arguments: &[&str]| shell.run(&[&["users"], arguments, &["--json"]].concat());
        assert_eq!(run(&["disable", "ben@example.com"]).ok().json()["user"]["isActive"], false);
        assert_eq!(shell.run(&["users", "list", "--inactive", "--json"]).ok().json()["users"][0]["username"], "ben");
        assert_eq!(run(&["enable", "BEN@example.com"]).ok().json()["user"]["isActive"], true);
        assert_eq!(run(&["set-role", "ben@example.com", "manager"]).ok().json()["user"]["role"], "MANAGER");
        for last in [&["disable", "ada@example.com"][..], &["set-role", "ada@example.com", "VIEWER"]] {
            let output = run(last).failed();
            assert!(output.err.contains("last administrator who can sign in"), "{}", output.err);
        }
        let link = run(&["reset", "ben@example.com", "--print-link"]).ok().json()["link"].to_string();
        assert!(link.contains("/reset-password#"), "{link}");
        run(&["reset", "ben@example.com"]).ok();
        let output = run(&["disable", "nobody@example.com"]).failed();
        assert!(output.err.contains("no user has") && output.err.contains("--search"), "{}", output.err);
    });
}
