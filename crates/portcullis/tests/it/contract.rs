//! The tables of docs/contract.md hold what the running program does.

use std::collections::BTreeSet;
use std::path::Path;

use portcullis_api::ErrorKind;
use portcullis_gate::CookieName;
use portcullis_model::permission::BUILT_IN;
use reqwest::Method;

use crate::client::{app, client, get, send};

const ORIGIN: &str = "https://app.example";

fn contract() -> String {
    page("docs/contract.md")
}

fn page(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).expect("the page exists")
}

/// The cells of every table row below the markers `<!-- contract: NAME -->`, without the head of the table.
fn rows(name: &str) -> Vec<Vec<String>> {
    let text = contract();
    let marker = format!("<!-- contract: {name} -->\n");
    let rows: Vec<Vec<String>> = text
        .split(&marker)
        .skip(1)
        .flat_map(|rest| rest.lines().take_while(|line| line.starts_with('|')).skip(2))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "docs/contract.md has no table {name}");
    rows
}

/// The words of a text that stand between backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn first_cells(name: &str) -> BTreeSet<String> {
    rows(name).iter().flat_map(|cells| quoted(&cells[0])).collect()
}

#[tokio::test]
async fn the_contract_lists_every_endpoint() {
    let app = app().start();
    let document = get(&app, "/api/docs.json").await.body;
    let paths = document["paths"].as_object().expect("an OpenAPI document has paths");
    let served: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("a path has methods");
            methods.keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    assert_eq!(first_cells("endpoints"), served);
}

#[test]
fn the_contract_lists_every_error() {
    let listed: BTreeSet<(String, u16, String)> = rows("errors")
        .iter()
        .flat_map(|cells| {
            let error = quoted(&cells[0]).pop_first().expect("an error has a text");
            let status: u16 = cells[1].parse().expect("an error has a status");
            quoted(&cells[2]).into_iter().map(move |code| (error.clone(), status, code))
        })
        .collect();
    let known: BTreeSet<(String, u16, String)> =
        ErrorKind::ALL.iter().map(|kind| (kind.error.to_owned(), kind.status.as_u16(), kind.code.to_owned())).collect();
    assert_eq!(listed, known);
}

#[test]
fn the_contract_lists_every_cookie() {
    let names = CookieName::all_spellings().filter(|name| !name.starts_with("__Host-"));
    assert_eq!(first_cells("cookies"), names.map(str::to_owned).collect());
}

#[test]
fn the_contract_lists_every_permission() {
    let names = BUILT_IN.iter().map(|name| (*name).to_owned());
    assert_eq!(first_cells("permissions"), names.collect());
}

#[tokio::test]
async fn the_contract_lists_the_headers_of_cors() {
    let app = app().env("ALLOWED_ORIGINS", ORIGIN).start();
    let preflight = client()
        .request(Method::OPTIONS, app.url("/api/v1/users"))
        .header("Origin", ORIGIN)
        .header("Access-Control-Request-Method", "GET");
    let preflight = send(preflight).await;
    let response = send(client().get(app.url("/api/v1/health")).header("Origin", ORIGIN)).await;
    let list = |text: &str| text.split(',').map(|name| name.trim().to_ascii_lowercase()).collect::<BTreeSet<_>>();
    for (cells, sent) in rows("cors")
        .iter()
        .zip([preflight.header("access-control-allow-headers"), response.header("access-control-expose-headers")])
    {
        let named = quoted(&cells[1]).iter().map(|name| name.to_ascii_lowercase()).collect::<BTreeSet<_>>();
        assert_eq!(named, list(sent), "{}", cells[0]);
    }
}

#[tokio::test]
async fn the_contract_names_families_that_are_there() {
    let app = app().start();
    let text = client().get(app.url("/metrics")).send().await.expect("it answers").text().await.expect("text");
    for cells in rows("metrics") {
        let family = quoted(&cells[0]).pop_first().expect("a family has a name");
        let kind = cells[1].split(':').next().unwrap_or_default();
        assert!(text.contains(&format!("# HELP {family} ")), "{family} has no HELP line");
        assert!(text.contains(&format!("# TYPE {family} {kind}\n")), "{family} is no {kind}");
    }
}

#[test]
fn the_contract_names_variables_that_are_settings() {
    let text = contract();
    let (_, rest) = text.split_once("<!-- contract: environment -->\n").expect("there is a list of variables");
    let names = quoted(rest.split("\n\n").next().unwrap_or_default());
    assert!(names.len() > 20, "{names:?}");
    // A test of the settings generates that page from the keys.
    let settings = page("docs/settings.md");
    for name in names {
        assert!(settings.contains(&format!("`{name}`")) || settings.contains(&format!("| {name} |")), "{name}");
    }
}
