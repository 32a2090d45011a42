//! The table of `cases.json` holds what the npm package dotenv reads; `scripts/dotenv.sh` writes it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    text: String,
    parsed: BTreeMap<String, String>,
}

fn values(text: &str) -> BTreeMap<String, String> {
    parse(&".env".into(), text).into_iter().map(|entry| (entry.name, entry.value)).collect()
}

fn warnings(text: &str) -> Vec<String> {
    parse(&".env".into(), text).iter().filter_map(|entry| entry.warning.as_ref().map(Notice::to_string)).collect()
}

#[test]
fn a_file_is_read_as_the_npm_package_reads_it() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("cases.json")).expect("the table is JSON");
    assert!(cases.len() > 60, "only {} cases", cases.len());
    for case in cases {
        assert_eq!(values(&case.text), case.parsed, "{:?}", case.text);
    }
}

#[test]
fn a_value_that_is_cut_or_not_closed_gets_a_warning() {
    let said = warnings("A=1 # comment\nPASSWORD=abc#def\n\nB=\"open\nC='x#y'\n");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with(".env:2 (PASSWORD): # ends the value here"), "{said:?}");
    assert!(said[1].starts_with(".env:4 (B): the quote is not closed"), "{said:?}");
    assert!(!said.join("").contains("abc"), "{said:?}");
}

#[test]
fn the_line_of_a_variable_is_counted_through_quotes_and_comments() {
    let text = "# one\r\n\r\nKEY='a\r\nb\r\nc'\r\nPORT=1\r\n";
    let lines: Vec<_> = parse(&".env".into(), text).iter().map(|entry| entry.place.to_string()).collect();
    assert_eq!(lines, [".env:3 (KEY)", ".env:6 (PORT)"]);
}
