//! Runs the commands of pages as a reader pastes them, and holds docs/security.md and docs/gate.md against the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portcullis_testkit::{PASSWORD, PrivatePostgres, TestAppBuilder, free_port, wait_until_open};

use crate::client::app;

/// The command blocks that the tests of this file run: the page, and the name in `<!-- test: name -->`.
pub(crate) const RUN: [(&str, &str); 6] = [
    ("docs/start.md", "quick-start"),
    ("docs/csrf.md", "csrf"),
    ("docs/identity.md", "identity"),
    ("docs/gate.md", "gate"),
    ("docs/logging.md", "log-level"),
    ("docs/migrate-from-express.md", "express-users"),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the shell blocks of a page that are marked with `<!-- test: name -->`, in order.
fn commands(page: &str, name: &str) -> String {
    assert!(RUN.contains(&(page, name)), "{page} {name} is not in RUN");
    let text = std::fs::read_to_string(repository().join(page)).expect("the page exists");
    let marker = format!("<!-- test: {name} -->\n```sh\n");
    let blocks: Vec<&str> = text.split(&marker).skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "{page} has no block {name}");
    blocks.concat()
}

/// Runs a script line by line in one shell and returns what each line printed. The test's ports and binaries replace the
/// page's.
fn paste(app: &TestAppBuilder, script: &str, port: u16, upstream: u16) -> Vec<(String, String)> {
    let binary = env!("CARGO_BIN_EXE_portcullis");
    let script = script
        .replace("localhost:8000", &format!("localhost:{port}"))
        .replace("make run > portcullis.log", &format!("{binary} serve > portcullis.log"))
        .replace("PORTCULLIS_CONFIG=examples/portcullis.toml make run", &format!("{binary} serve >/dev/null"))
        .replace("cargo run --quiet --bin portcullis --", binary)
        .replace(
            "cargo run --quiet -p portcullis-proxy --example upstream",
            &format!("{} {upstream} >/dev/null", example().display()),
        );
    let mut pasted = String::from("set -u\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n");
    for line in script.lines() {
        pasted.push_str(line);
        pasted.push_str("\nprintf '\\n@@@ %s\\n' \"$?\"\n");
    }
    let settings =
        std::fs::read_to_string(repository().join("examples/portcullis.toml")).expect("the example's settings");
    std::fs::write(app.folder().join("portcullis.toml"), settings.replace("8002", &upstream.to_string()))
        .expect("writable");
    let output = Command::new("bash")
        .arg("-c")
        .arg(&pasted)
        .current_dir(app.folder())
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let outputs: Vec<&str> = printed.split("\n@@@ ").collect();
    let results: Vec<(String, String)> = script
        .lines()
        .zip(&outputs)
        .map(|(line, output)| (line.to_owned(), output.split_once('\n').map_or(*output, |(_, text)| text).to_owned()))
        .collect();
    for (index, output) in outputs.iter().enumerate().skip(1) {
        assert!(
            output.starts_with('0'),
            "line {index} failed: {}\n{printed}\n{errors}",
            script.lines().nth(index - 1).unwrap_or("")
        );
    }
    results
}

/// Returns the path of the example upstream, and builds it if need be.
fn example() -> PathBuf {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_portcullis"));
    let example = binary.with_file_name("examples").join("upstream");
    if !example.exists() {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "portcullis-proxy", "--example", "upstream"])
            .current_dir(repository())
            .status()
            .expect("cargo runs");
        assert!(status.success());
    }
    example
}

#[test]
fn the_quick_start_works_line_by_line() {
    let (port, upstream) = (free_port(), free_port());
    let builder = app();
    let results = paste(&builder, &commands("docs/start.md", "quick-start"), port, upstream);
    let response = |start: &str| {
        let found = results.iter().filter(|(line, _)| line.starts_with(start)).map(|(_, response)| response.clone());
        found.collect::<Vec<_>>()
    };
    let calls = response("curl -s http://localhost");
    let calls: Vec<_> = calls.into_iter().chain(response("curl -s -b")).collect();
    assert_eq!(calls.len(), 3, "{results:#?}");
    assert!(calls[0].contains("\"GET\"") && calls[0].to_lowercase().contains("x-portcullis-user"), "{}", calls[0]);
    assert!(!calls[0].to_lowercase().contains("bearer"), "{}", calls[0]);
    assert!(calls[1].contains("Access token is required"), "{}", calls[1]);
    assert!(calls[2].contains("\"POST\""), "{}", calls[2]);
}

#[test]
fn the_csrf_page_works_line_by_line() {
    let (port, upstream) = (free_port(), free_port());
    let builder = app().env("PORT", port.to_string());
    let settings =
        std::fs::read_to_string(repository().join("examples/portcullis.toml")).expect("the example's settings");
    let app = builder.settings(&settings.replace("8002", &upstream.to_string())).start();
    wait_until_open(app.address());
    let builder = crate::client::app();
    let results = paste(&builder, &commands("docs/csrf.md", "csrf"), port, upstream);
    let codes: Vec<&str> =
        results.iter().filter(|(line, _)| line.contains("http_code")).map(|(_, response)| response.trim()).collect();
    assert_eq!(codes, ["401", "403"], "{results:#?}");
}

#[test]
fn the_identity_page_works_line_by_line() {
    let builder = app();
    let results = paste(&builder, &commands("docs/identity.md", "identity"), free_port(), free_port());
    let output = |part: &str| {
        let found = results.iter().filter(|(line, _)| line.contains(part)).map(|(_, response)| response.clone());
        found.collect::<Vec<_>>()
    };
    for (part, responses) in [
        ("post verify-email", &["Email verified successfully"][..]),
        ("post resend-verification", &["a new link is on its way"]),
        ("qwertyuiop", &["one of the most used ones"]),
        ("auth/profile -H", &["\"isEmailVerified\":true", "Augusta", "Invalid token"]),
        ("auth/sessions", &["\"current\":true"]),
        ("change-password", &["Current password is incorrect", "Password changed successfully"]),
        ("post forgot-password", &["If there is an account", "If there is an account"]),
        (
            "post reset-password",
            &["Password reset successfully", "Invalid or expired reset token", "Password reset successfully"],
        ),
        ("call GET 'users?role=TESTER", &["ben@example.com"]),
        ("call PUT \"users/$BEN\"", &["Franklin, Dr"]),
        ("call GET \"users/$BEN/sessions\"", &["\"sessions\":[]"]),
        ("call DELETE \"users/$BEN/sessions\"", &["Sessions ended successfully"]),
        ("$BEN/role", &["\"role\":\"MANAGER\""]),
        ("call POST \"users/$BEN/permissions", &["SYSTEM_VIEW_AUDIT_LOGS"]),
        ("call GET \"users/$BEN/permissions\"", &["\"customPermissions\":[\"SYSTEM_VIEW_AUDIT_LOGS\"]"]),
        ("call DELETE \"users/$BEN/permissions", &["\"customPermissions\":[]"]),
        ("users/roles/MANAGER", &["GATEWAY_VIEW"]),
        ("call GET \"audit-logs", &["\"to\":\"MANAGER\""]),
        ("audit export", &["user.invite"]),
        ("once 0b6c9f3e", &["\"secret\":\"pk_", "idempotency-replayed: true", "request.idempotency_key_reused"]),
        ("v1/users?limit=1' -H \"X-API-Key", &["\"users\":[", "Invalid token"]),
        ("v1/api-keys -H \"X-API-Key", &["an API key is not enough"]),
        ("call DELETE \"api-keys", &["API key revoked successfully"]),
        ("keys rotate", &["It signs from"]),
        ("keys list", &["signing"]),
        ("jwks.json", &["\"alg\":\"EdDSA\""]),
        ("users import people.csv --dry-run", &["Would import 1 users"]),
        ("users export", &["grace@example.com"]),
        ("users disable", &["Disabled grace@example.com"]),
        ("users reset", &["/reset-password#"]),
        ("post login '{\"email\":\"ada@example.com\",\"password\":\"yet another secret\"}'", &["accessToken", ""]),
        ("auth/logout", &["Logout successful"]),
    ] {
        let output = output(part);
        assert_eq!(output.len(), responses.len(), "{part}: {output:?}");
        for (output, response) in output.iter().zip(responses) {
            assert!(output.contains(response), "{part}: {output:?} without {response:?}");
        }
    }
}

#[test]
fn the_commands_about_the_running_gateway_work_line_by_line() {
    let page = std::fs::read_to_string(repository().join("docs/gate.md")).expect("the page exists");
    let route = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("its first settings");
    let settings = format!("{route}\n[upstreams.payments]\ntargets = [\"http://127.0.0.1:9\"]\n");
    let app = TestAppBuilder::new(env!("CARGO_BIN_EXE_portcullis")).settings(&settings).start();
    let ada = ["users", "create", "--email", "ada@example.com", "--username", "ada", "--first-name", "Ada"];
    app.run(&[&ada[..], &["--last-name", "Lovelace", "--role", "MANAGER", "--password-stdin"]].concat(), PASSWORD);
    let mut printed = Vec::new();
    for line in [commands("docs/gate.md", "gate"), commands("docs/logging.md", "log-level")].concat().lines() {
        let arguments = line.split(" #").next().and_then(|command| command.strip_prefix("portcullis "));
        let arguments: Vec<&str> = arguments.expect("a command of ours").split_whitespace().collect();
        printed.push(app.run(&arguments, ""));
    }
    let expected = [
        "6000/60s",
        "No request was counted",
        "Reset ",
        "auth.network_not_allowed",
        "The log level is ",
        ",portcullis_gate=debug until ",
        "The log level is ",
    ];
    assert_eq!(printed.len(), expected.len());
    for (printed, expected) in printed.iter().zip(expected) {
        assert!(printed.contains(expected), "{printed:?} without {expected:?}");
    }
}

/// A table of users as Prisma makes it for the model of docs/migrate-from-express.md, with hashes of bcrypt.
const PRISMA_USERS: &str = r#"
CREATE TYPE "Role" AS ENUM ('USER', 'ADMIN');
CREATE TABLE "User" (
  id text PRIMARY KEY, email text UNIQUE NOT NULL, name text NOT NULL, "passwordHash" text NOT NULL,
  role "Role" NOT NULL DEFAULT 'USER', "emailVerified" timestamp(3), "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
INSERT INTO "User" (id, email, name, "passwordHash", role, "emailVerified") VALUES
  ('clx0q3k5d0000', 'ada@example.com', 'Ada Lovelace',
   '$2a$10$h7yVVrcb92MLIjT8ApMyYOm1A6qh5xRBi8oZK7IlvYcjXqeBTHi1S', 'ADMIN', now()),
  ('clx0q3k5d0001', 'grace@example.com', 'Grace Hopper',
   '$2a$10$2VcdJueaTHwRolUqJsRMoutKY4XX8QwQX6BKCHSzIjSIMO8GfDttK', 'USER', NULL);
"#;

#[test]
fn the_guide_from_express_works_block_by_block() {
    let server = PrivatePostgres::shared();
    let address = server.database();
    server.run_sql_in(address.rsplit('/').next().expect("its name"), PRISMA_USERS);
    let output = Command::new("python3")
        .args(["-B", "scripts/tutorials.py", "docs/migrate-from-express.md", env!("CARGO_BIN_EXE_portcullis")])
        .current_dir(repository())
        .env("OLD_DATABASE", &address)
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Finds the tests named for each security requirement, by its number.
fn tests_by_requirement() -> BTreeMap<u32, BTreeSet<String>> {
    fn walk(folder: &Path, found: &mut BTreeMap<u32, BTreeSet<String>>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the repository").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                for line in text.lines() {
                    let line = line.trim_start().trim_start_matches("async ");
                    let Some(rest) = line.strip_prefix("fn sr_") else { continue };
                    let name = rest.split('(').next().unwrap_or_default();
                    let number = name.split('_').next().and_then(|number| number.parse().ok());
                    let number = number.unwrap_or_else(|| panic!("{}: sr_{name} has no number", path.display()));
                    found.entry(number).or_default().insert(format!("`sr_{name}`"));
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&repository().join("crates"), &mut found);
    found
}

#[test]
fn the_security_page_names_every_test() {
    let file = repository().join("docs/security.md");
    let page = std::fs::read_to_string(&file).expect("the page exists");
    let mut tests = tests_by_requirement();
    let mut wanted = String::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells.get(1).and_then(|number| number.parse::<u32>().ok()) {
            Some(number) if cells.len() == 6 => {
                let named = tests.remove(&number).unwrap_or_else(|| panic!("requirement {number} has no test"));
                let named = named.into_iter().collect::<Vec<_>>().join(", ");
                wanted.push_str(&format!("| {number} | {} | {} | {named} |\n", cells[2], cells[3]));
                for path in cells[3].split('`').filter(|path| path.ends_with(".rs")) {
                    let (room, rest) = path.split_once('/').expect("a room and a file");
                    let places =
                        [format!("crates/portcullis-{room}/src/{rest}"), format!("crates/portcullis/src/{path}")];
                    assert!(places.iter().any(|place| repository().join(place).exists()), "{number}: no file {path}");
                }
            }
            _ => wanted.push_str(&format!("{line}\n")),
        }
    }
    assert!(tests.is_empty(), "requirements without a line: {:?}", tests.keys());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &wanted).expect("the page can be written");
    } else {
        assert!(page == wanted, "docs/security.md names other tests than there are; UPDATE_DOCS=1 writes it anew");
    }
}

#[test]
fn the_gate_page_lists_every_phase_in_its_order() {
    let page = include_str!("../../../../docs/gate.md");
    let rows =
        page.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let listed: Vec<&str> = rows.filter_map(|row| row.split('|').nth(1)).map(str::trim).collect();
    assert_eq!(listed, portcullis_gate::Phase::ALL.map(portcullis_gate::Phase::as_str));
}
