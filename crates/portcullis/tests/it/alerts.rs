//! The alerts of `deploy/prometheus` and their runbooks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a program in a folder of the repository and asserts that it succeeds.
fn run(folder: &str, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(repository().join(folder)).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}. hint: make setup"));
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{program} {arguments:?}:\n{text}");
}

/// What follows a word, line by line.
fn after(text: &str, word: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| Some(line.split_once(word)?.1.trim().to_owned())).collect()
}

fn alerts() -> BTreeSet<String> {
    let alerts = after(&read("deploy/prometheus/alerts.yml"), "- alert: ");
    assert!(alerts.len() > 20, "{alerts:?}");
    alerts
}

#[test]
fn prometheus_accepts_the_configuration_and_the_rules() {
    run("deploy/prometheus", "promtool", &["check", "config", "prometheus.yml"]);
}

#[test]
fn every_alert_fires_and_stays_quiet_as_its_test_says() {
    run("deploy/prometheus", "promtool", &["test", "rules", "rules_test.yml", "slow_rules_test.yml"]);
}

#[test]
fn every_alert_has_a_test_that_fires_and_one_that_does_not() {
    let tests =
        ["rules_test.yml", "slow_rules_test.yml"].map(|file| read(&format!("deploy/prometheus/{file}"))).concat();
    for alert in alerts() {
        let query = format!("count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
        let asked = tests.split("- expr: ").filter_map(|part| part.strip_prefix(&*query)?.split_once("exp_samples: "));
        let expected: BTreeSet<&str> = asked.filter_map(|(_, samples)| samples.lines().next()).collect();
        assert_eq!(expected.into_iter().collect::<Vec<_>>(), ["[]", "[{ value: 1 }]"], "{alert}");
    }
}

#[test]
fn every_alert_links_its_runbook_and_every_runbook_has_an_alert() {
    let text = read("deploy/prometheus/alerts.yml");
    let linked: BTreeSet<String> =
        after(&text, "docs/runbooks/").into_iter().map(|file| file.replace(".md", "")).collect();
    assert_eq!(linked, alerts());
    let files = std::fs::read_dir(repository().join("docs/runbooks")).expect("the runbooks");
    let files = files.map(|file| file.expect("a file").file_name().into_string().expect("text"));
    assert_eq!(files.map(|file| file.replace(".md", "")).collect::<BTreeSet<_>>(), alerts());
    for alert in alerts() {
        let page = read(&format!("docs/runbooks/{alert}.md"));
        assert!(page.starts_with(&format!("# {alert}\n")), "{alert}");
        for heading in ["## What it means", "## How to see it", "## How to end it"] {
            assert!(page.contains(heading), "{alert} has no {heading:?}");
        }
        for line in page.lines().filter(|line| line.contains("](")) {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
                let file = repository().join("docs/runbooks").join(target.0);
                assert!(file.exists(), "{alert} links {}", target.0);
            }
        }
    }
}

#[test]
fn the_page_of_runbooks_has_a_row_for_each_alert() {
    let text = read("deploy/prometheus/alerts.yml");
    let value = |part: &str, key: &str| {
        let line = part.lines().find_map(|line| line.trim().strip_prefix(key)).expect("each alert has it");
        line.trim().trim_matches('"').to_owned()
    };
    let wanted: String = text
        .split("- alert: ")
        .skip(1)
        .map(|part| {
            let alert = part.lines().next().expect("its name");
            format!("| [{alert}](runbooks/{alert}.md) | {} | {} |\n", value(part, "severity:"), value(part, "summary:"))
        })
        .collect();
    let page = read("docs/runbooks.md");
    let (head, rows) = page.split_once("|---|---|---|\n").expect("a table");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let page = format!("{head}|---|---|---|\n{wanted}");
        std::fs::write(repository().join("docs/runbooks.md"), page).expect("the page can be written");
    } else {
        assert_eq!(rows, wanted, "UPDATE_DOCS=1 writes it anew");
    }
}
