//! What a migration may do: each is marked as an expand or a contract step, and an expand step only adds, so that the
//! programs of the previous schema run on it.

use super::MIGRATIONS;

/// Parts of statements that take away what a program of the previous schema uses, or refuse what it writes.
const TAKES_AWAY: [&str; 9] = [
    "DROP TABLE ",
    "DROP COLUMN ",
    "RENAME ",
    "ALTER COLUMN ",
    "ADD CONSTRAINT ",
    "ADD PRIMARY KEY",
    "ADD FOREIGN KEY",
    "CREATE TRIGGER ",
    "TRUNCATE ",
];

/// Returns what is wrong with a migration of this number; empty when nothing is.
fn violations(version: i64, text: &str) -> Vec<String> {
    let value_of = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix)).map(str::trim);
    let runs_since = value_of("-- runs_since: ").map(str::parse::<i64>);
    match (value_of("-- kind: "), runs_since) {
        (Some("expand"), None) => taken_away(text),
        (Some("expand"), Some(_)) => vec!["only a contract step has runs_since".to_owned()],
        (Some("contract"), Some(Ok(since))) if since > 1 && since <= version => Vec::new(),
        (Some("contract"), _) => {
            vec!["a contract step names the oldest schema that runs on it: -- runs_since: NNNN".to_owned()]
        }
        _ => vec!["the file needs a line `-- kind: expand` or `-- kind: contract` (docs/migrations.md)".to_owned()],
    }
}

/// Returns the lines of an expand step that do more than add.
fn taken_away(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("--")) {
        if let Some(part) = TAKES_AWAY.into_iter().find(|part| line.contains(part)) {
            found.push(format!("an expand step has no {}: {line}", part.trim()));
        }
        if line.contains(" ADD COLUMN ") && line.contains(" NOT NULL") && !line.contains(" DEFAULT ") {
            found.push(format!("programs of the previous schema write no value for this column: {line}"));
        }
        if let Some(index) = line.strip_prefix("CREATE UNIQUE INDEX ")
            && !is_on_new_columns(index, text)
        {
            found.push(format!("programs of the previous schema may write what this index refuses: {line}"));
        }
    }
    found
}

/// Whether a unique index, `name ON table (column, …)`, is on a table or a column that the same step adds.
fn is_on_new_columns(index: &str, text: &str) -> bool {
    let Some((table, columns)) = index.split_once(" ON ").and_then(|(_, on)| on.split_once(" (")) else { return false };
    let columns = columns.split(')').next().unwrap_or_default();
    let is_new = |column: &str| text.contains(&format!("ALTER TABLE {table} ADD COLUMN {column} "));
    text.contains(&format!("CREATE TABLE {table} (")) || columns.split(", ").any(is_new)
}

#[test]
fn every_migration_is_marked_and_an_expand_step_only_adds() {
    for migration in MIGRATIONS {
        let found = violations(migration.version, migration.up);
        assert!(found.is_empty(), "{:04} {}: {}", migration.version, migration.name, found.join("; "));
    }
}

#[test]
fn steps_that_exclude_the_previous_program_are_found() {
    let bad = [
        "ALTER TABLE users ADD COLUMN nickname {text};",
        "-- kind: contract\nALTER TABLE users DROP COLUMN avatar;",
        "-- kind: contract\n-- runs_since: 14\nALTER TABLE users DROP COLUMN avatar;",
        "-- kind: expand\n-- runs_since: 12\nALTER TABLE users ADD COLUMN nickname {text};",
        "-- kind: expand\nALTER TABLE users DROP COLUMN avatar;",
        "-- kind: expand\nALTER TABLE users RENAME COLUMN avatar TO picture;",
        "-- kind: expand\nALTER TABLE users ADD COLUMN nickname {text} NOT NULL;",
        "-- kind: expand\nCREATE UNIQUE INDEX {concurrently} users_avatar ON users (avatar);",
    ];
    for text in bad {
        assert_eq!(violations(13, text).len(), 1, "{text}");
    }
    let good = [
        "-- kind: contract\n-- runs_since: 12\nALTER TABLE users DROP COLUMN avatar;",
        "-- kind: expand\nALTER TABLE users ADD COLUMN nickname {text} NOT NULL DEFAULT '';",
        "-- kind: expand\nALTER TABLE users ADD COLUMN nickname {text};\nCREATE UNIQUE INDEX a ON users (nickname);",
        "-- kind: expand\nCREATE TABLE pets (\n  name {text} NOT NULL\n){strict};\nCREATE UNIQUE INDEX pets_name ON pets (name);",
    ];
    for text in good {
        assert_eq!(violations(13, text), Vec::<String>::new(), "{text}");
    }
}
