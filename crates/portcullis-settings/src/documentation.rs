//! Holds `docs/settings.md` and `.env.example` against the declared keys.

use std::collections::BTreeSet;

use crate::engine::dotenv;
use crate::engine::key::Section;
use crate::engine::key::{Key, variable};
use crate::engine::notice::Problems;
use crate::sections::SECTIONS;

/// A key's row in the documentation.
fn row(section: &Section, key: &Key) -> String {
    // A list has no name for one of its members' keys.
    let generic = (section.name != "routes").then(|| variable(section.name, key.name));
    let names: Vec<String> =
        key.environment.iter().map(|name| (*name).to_owned()).chain(generic).map(|name| format!("`{name}`")).collect();
    let environment = if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    let default = key.default_text();
    format!("| `{}` | {default} | {environment} | {} | {} |", key.name, key.unit, key.about)
}

/// The page with the rows of each section as they should be, where its first row stood.
fn written_anew(page: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut section: Option<&Section> = None;
    for line in page.lines() {
        if line.starts_with("## ") {
            section = SECTIONS.iter().copied().find(|section| heading(section) == line);
        }
        if !line.starts_with("| `") {
            lines.push(line.to_owned());
        }
        let is_rule = line.starts_with("|---");
        if let Some(section) = section.filter(|_| is_rule) {
            lines.extend(section.keys.iter().map(|key| row(section, key)));
        }
    }
    let page = lines.join("\n") + "\n";
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md"), &page).expect("can be written");
    page
}

fn heading(section: &Section) -> String {
    if section.name == "routes" { "## `[[routes]]`".to_owned() } else { format!("## `[{}]`", section.name) }
}

#[test]
fn the_documentation_has_every_key_with_its_default_name_and_unit_and_no_other() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
    let page = std::fs::read_to_string(page).expect("docs/settings.md exists");
    let expected: Vec<String> = SECTIONS
        .iter()
        .flat_map(|section| std::iter::once(heading(section)).chain(section.keys.iter().map(|key| row(section, key))))
        .collect();
    let is_ours = |line: &&str| line.starts_with("## `[") || line.starts_with("| `");
    let page = if std::env::var_os("UPDATE_DOCS").is_some() { written_anew(&page) } else { page };
    let written: Vec<&str> = page.lines().filter(is_ours).collect();
    assert!(written == expected, "docs/settings.md should have these lines, in this order:\n{}\n", expected.join("\n"));
}

#[test]
fn the_example_of_an_environment_has_every_name_and_no_dead_one() {
    let page = include_str!("../../../.env.example");
    let names = |lines: &str| -> BTreeSet<String> {
        let name = |line: &str| Some(line.strip_prefix('#')?.split_once('=')?.0.to_owned());
        let is_name = |name: &String| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        lines.lines().filter_map(name).filter(is_name).collect()
    };
    let (now, later) = page.split_once("# --- read by a later version").expect("it has that part");
    let mut read: BTreeSet<String> = SECTIONS
        .iter()
        .flat_map(|section| section.keys)
        .flat_map(|key| key.environment)
        .map(|name| (*name).to_owned())
        .collect();
    read.extend(crate::engine::variables::ENVIRONMENT_NAMES.map(str::to_owned));
    read.insert("PORTCULLIS_CONFIG".to_owned());
    assert_eq!(names(now), read);
    let mut unread: BTreeSet<String> = crate::reserved_variables::names().map(str::to_owned).collect();
    unread.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned());
    assert_eq!(names(later), unread);
    // Without its comment signs it is a file that we read.
    let set = page.lines().map(|line| if names(line).is_empty() { line } else { &line[1..] });
    let mut problems = Problems::default();
    let entries = dotenv::parse(&".env".into(), &set.collect::<Vec<_>>().join("\n"), &mut problems);
    assert!(problems.is_empty(), "{problems}");
    let entries: BTreeSet<String> = entries.into_iter().map(|entry| entry.name).collect();
    assert_eq!(entries, &read | &unread);
    // Each name has its line of comment, of its own or shared with the line above.
    for (line, above) in page.lines().skip(1).zip(page.lines()) {
        let is_name = names(line).len() == 1;
        assert!(!is_name || above.starts_with('#'), "{line} has no comment");
    }
}

#[test]
fn the_documentations_example_is_a_good_file() {
    let page = include_str!("../../../docs/settings.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let settings = crate::testing::settings(example, &[]);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn no_key_ends_like_the_name_of_a_file_variable_and_no_name_means_two_keys() {
    let mut names = BTreeSet::new();
    for section in SECTIONS {
        for key in section.keys {
            assert!(!key.name.ends_with("_file"), "{} would hide <NAME>_FILE", key.name);
            for name in key.environment {
                assert!(names.insert(name), "{name} sets two keys");
            }
        }
    }
}
