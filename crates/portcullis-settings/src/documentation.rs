//! Holds `docs/settings.md` and `.env.example` against the declared keys.

use std::collections::BTreeSet;

use crate::engine::dotenv;
use crate::engine::variables::ENVIRONMENT_NAMES;
use crate::otel_variables;
use crate::sections::SECTIONS;
use crate::sections::secret_store::AWS_VARIABLES;

/// The first heading of the generated part of `docs/settings.md`.
const FIRST_SECTION: &str = "## `[server]`";

#[test]
fn the_page_about_settings_has_the_declared_keys() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
    let page = std::fs::read_to_string(file).expect("docs/settings.md exists");
    let (introduction, _) = page.split_once(FIRST_SECTION).expect("the page has a part for each section");
    let expected = format!("{introduction}{}", crate::reference_page());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file, &expected).expect("docs/settings.md can be written");
    } else {
        assert!(page == expected, "docs/settings.md differs from the declared keys; run with UPDATE_DOCS=1");
    }
}

const EXAMPLE_ENVIRONMENT: &str = include_str!("../../../.env.example");

#[test]
fn the_example_environment_has_every_variable() {
    assert_eq!(example_names(EXAMPLE_ENVIRONMENT), variables_read());
}

#[test]
fn the_example_environment_is_a_dotenv_file() {
    // Without the comment signs before the variables.
    let is_variable = |line: &str| !example_names(line).is_empty();
    let text: Vec<_> =
        EXAMPLE_ENVIRONMENT.lines().map(|line| if is_variable(line) { &line[1..] } else { line }).collect();
    let entries = dotenv::parse(&".env".into(), &text.join("\n"));
    let warnings: Vec<_> = entries.iter().filter_map(|entry| entry.warning.as_ref()).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    let names: BTreeSet<String> = entries.into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, variables_read());
}

#[test]
fn every_variable_of_the_example_has_a_comment() {
    for (line, above) in EXAMPLE_ENVIRONMENT.lines().skip(1).zip(EXAMPLE_ENVIRONMENT.lines()) {
        assert!(example_names(line).is_empty() || above.starts_with('#'), "{line} has no comment");
    }
}

/// The variables in lines of the form `#NAME=value`.
fn example_names(lines: &str) -> BTreeSet<String> {
    let name = |line: &str| Some(line.strip_prefix('#')?.split_once('=')?.0.to_owned());
    let is_name =
        |name: &String| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    lines.lines().filter_map(name).filter(is_name).collect()
}

fn variables_read() -> BTreeSet<String> {
    let keys = SECTIONS.iter().flat_map(|section| section.keys);
    let mut names: BTreeSet<String> = keys.flat_map(|key| key.environment).map(|name| (*name).to_owned()).collect();
    names.extend(ENVIRONMENT_NAMES.map(str::to_owned));
    names.insert("PORTCULLIS_CONFIG".to_owned());
    names.extend(otel_variables::NAMES.map(str::to_owned));
    names.extend(AWS_VARIABLES.map(str::to_owned));
    names
}

#[test]
fn the_example_on_the_page_is_accepted_without_a_warning() {
    let page = include_str!("../../../docs/settings.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let settings = crate::testing::settings(example, &[]);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn no_variable_sets_two_keys_or_hides_a_file_variable() {
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
