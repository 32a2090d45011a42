//! docs/logging.md lists the events that the sources have, and what an operator does about each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Level and message of an event.
type Event = (String, String);

/// The sources of all crates without their tests.
fn sources() -> Vec<String> {
    fn walk(folder: &Path, sources: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the repository").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, sources);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).expect("a source is text");
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                sources.push(code.to_owned());
            }
        }
    }
    let mut sources = Vec::new();
    for folder in std::fs::read_dir(repository().join("crates")).expect("the crates' folder").flatten() {
        if folder.file_name() != "portcullis-testkit" {
            walk(&folder.path().join("src"), &mut sources);
        }
    }
    sources
}

/// The events of a source: every `tracing::info!`, `warn!` and `error!`. Its message is its last text.
fn events(source: &str) -> Vec<Event> {
    let mut events = Vec::new();
    for level in ["info", "warn", "error"] {
        for arguments in source.split(&format!("tracing::{level}!(")).skip(1) {
            events.push((level.to_uppercase(), last_text(arguments)));
        }
    }
    events
}

/// The last string literal before the parenthesis that ends the arguments of a macro.
fn last_text(arguments: &str) -> String {
    let (mut depth, mut last) = (1, String::new());
    let mut characters = arguments.chars().peekable();
    while depth > 0 {
        match characters.next().expect("the arguments end") {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => last = text(&mut characters),
            _ => {}
        }
    }
    last
}

/// The rest of a string literal.
fn text(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    loop {
        match characters.next().expect("the literal ends") {
            '"' => return text,
            '\\' => match characters.next().expect("the literal ends") {
                // A literal goes on in the next line.
                '\n' => while characters.next_if(|c| c.is_whitespace()).is_some() {},
                escaped => text.push(escaped),
            },
            character => text.push(character),
        }
    }
}

/// The rows of the tables below "Events": level, message, when, what to do.
fn listed() -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(repository().join("docs/logging.md")).expect("the page exists");
    let (_, section) = page.split_once("\n## Events\n").expect("the page has a section about events");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows =
        section.lines().filter(|line| ["| INFO", "| WARN", "| ERROR"].iter().any(|level| line.starts_with(level)));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_page_about_logging_lists_every_event() {
    let there: BTreeSet<Event> = sources().iter().flat_map(|source| events(source)).collect();
    assert!(there.len() > 40, "the sources were not found: {there:?}");
    let rows = listed();
    let listed: BTreeSet<Event> =
        rows.iter().map(|row| (row[0].clone(), row[1].trim_matches('`').replace("\\|", "|"))).collect();
    let missing: Vec<_> = there.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&there).collect();
    assert!(missing.is_empty(), "docs/logging.md lacks these events: {missing:#?}");
    assert!(gone.is_empty(), "docs/logging.md lists events that no source has: {gone:#?}");
    assert_eq!(rows.len(), listed.len(), "an event is listed twice");
    for row in rows {
        assert!(row.len() == 4 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}

#[test]
fn every_crate_that_logs_can_be_named_in_a_filter() {
    let crates = std::fs::read_dir(repository().join("crates")).expect("the crates' folder").flatten();
    for name in crates.map(|folder| folder.file_name().to_string_lossy().replace('-', "_")) {
        let is_there = portcullis_telemetry::logs::LogFilter::CRATES.contains(&name.as_str());
        let code_logs = !matches!(
            name.as_str(),
            "portcullis_testkit"
                | "portcullis_model"
                | "portcullis_mail"
                | "portcullis_tls"
                | "portcullis_doctor"
                | "portcullis_secrets"
                | "portcullis_backup"
        );
        assert_eq!(is_there, code_logs, "{name}");
    }
}
