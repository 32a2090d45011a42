//! The document holds together, and `docs/openapi.json` is the document that the program serves.

use std::collections::BTreeSet;

use super::*;
use crate::endpoint::{description, endpoints};

/// Every operation of the document.
fn operations(document: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths.iter().flat_map(|(path, methods)| methods.as_object().expect("methods").values().map(move |one| (path, one)))
}

#[test]
fn docs_openapi_json_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, description().json()).expect("the file can be written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == description().json(), "docs/openapi.json is out of date. hint: run the test with UPDATE_DOCS=1");
}

#[test]
fn the_page_names_every_operation_and_no_other_host() {
    let document = document::document(endpoints());
    for (_, operation) in operations(&document) {
        let summary = operation["summary"].as_str().expect("a summary");
        assert!(description().page().text.contains(&page::escaped(summary)), "{summary}");
    }
    for outside in ["<script", "src=", "@import", "url(", "http://", "href=\"http"] {
        assert!(!description().page().text.contains(outside), "{outside}");
    }
}

#[test]
fn the_page_explains_every_code_at_its_link() {
    let page = description().page();
    for kind in crate::error::ErrorKind::ALL {
        let anchor = kind.link.strip_prefix("/api/docs#").expect("the link leads to the page");
        assert!(page.text.contains(&format!("<tr id=\"{anchor}\">")), "{anchor}");
    }
}

#[test]
fn every_reference_has_a_target() {
    fn walk(value: &Value, root: &Value, count: &mut usize) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref") {
                    assert!(root.pointer(&target[1..]).is_some(), "{target}");
                    *count += 1;
                }
                members.values().for_each(|member| walk(member, root, count));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, root, count)),
            _ => {}
        }
    }
    let document = document::document(endpoints());
    let mut count = 0;
    walk(&document, &document, &mut count);
    assert!(count > 300, "{count} references");
}

#[test]
fn operation_ids_are_unique() {
    let document = document::document(endpoints());
    let mut ids = BTreeSet::new();
    for (_, operation) in operations(&document) {
        let id = operation["operationId"].as_str().expect("an id");
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
    }
}

#[test]
fn path_parameters_are_those_of_the_template() {
    let document = document::document(endpoints());
    for (path, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let described: BTreeSet<&str> = parameters
            .filter(|parameter| parameter["in"] == "path")
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        let template: BTreeSet<&str> = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        assert_eq!(described, template, "{path}");
    }
}

#[test]
fn every_example_fits_its_schema() {
    let document = document::document(endpoints());
    let mut checked = 0;
    for (path, operation) in operations(&document) {
        let responses = operation["responses"].as_object().expect("responses").values();
        let holders = std::iter::once(&operation["requestBody"]).chain(responses);
        for content in holders.filter_map(|holder| holder.get("content")) {
            for media in content.as_object().expect("media types").values() {
                let (Some(schema), Some(example)) = (media.get("schema"), media.get("example")) else { continue };
                let mut whole = schema.clone();
                whole["components"] = document["components"].clone();
                let validator = jsonschema::validator_for(&whole).expect("a schema");
                let problems: Vec<String> = validator.iter_errors(example).map(|problem| problem.to_string()).collect();
                assert!(problems.is_empty(), "{path}: {problems:?} in {example}");
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "{checked} examples");
}

#[test]
fn every_parameter_of_a_path_has_a_form() {
    let document: Value = serde_json::from_str(description().json()).expect("JSON");
    let operations = document["paths"].as_object().into_iter().flatten().flat_map(|(_, methods)| methods.as_object());
    let parameters = operations.flatten().flat_map(|(_, operation)| operation["parameters"].as_array()).flatten();
    let of_paths: Vec<&Value> = parameters.filter(|parameter| parameter["in"] == "path").collect();
    assert!(!of_paths.is_empty());
    for parameter in of_paths {
        let form = &parameter["schema"];
        let form = form["$ref"].as_str().and_then(|target| document.pointer(&target[1..])).unwrap_or(form);
        let has = |keyword: &str| form.get(keyword).is_some();
        assert!(has("format") || has("pattern") || has("enum"), "{parameter}");
    }
}
