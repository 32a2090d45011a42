//! What the reader tells of wrong members, and what it makes of good ones.

use portcullis_model::{ApiTime, Role};
use serde::Deserialize;

use super::*;
use crate::input::Patch;
use crate::input::members::{of_json, of_query};

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "some fields are only there to be refused")]
#[serde(rename_all = "camelCase")]
struct Form {
    email: String,
    remember_me: Option<bool>,
    role: Option<Role>,
    scopes: Option<Vec<String>>,
    expires_at: Option<ApiTime>,
    avatar: Patch<String>,
    last: String,
}

fn problems(json: &str) -> Vec<String> {
    read::<Form>(&of_json(json.as_bytes()).expect("an object")).expect_err("it has problems")
}

#[test]
fn every_problem_is_told_in_the_order_of_fields() {
    let body = r#"{"email":5,"rememberMe":"yes","role":"KING","scopes":[1],"expiresAt":"soon","avatar":1}"#;
    assert_eq!(
        problems(body),
        [
            "email must be a string",
            "rememberMe must be true or false",
            "role must be one of VIEWER, TESTER, DEVELOPER, MANAGER, ADMIN",
            "scopes must be a list of strings",
            "expiresAt must be a time as in 2026-01-31T12:00:00Z (RFC 3339)",
            "avatar must be a string",
            "last is required",
        ]
    );
}

#[test]
fn a_required_member_that_is_null_is_missing() {
    assert_eq!(problems(r#"{"email":null,"last":""}"#), ["email is required"]);
}

#[test]
fn unknown_members_are_ignored_and_optional_ones_may_be_null() {
    let members = of_json(br#"{"email":"a","last":"b","other":{"x":1},"rememberMe":null}"#).expect("an object");
    let form: Form = read(&members).expect("it is valid");
    assert_eq!((form.email.as_str(), form.remember_me), ("a", None));
}

#[test]
fn a_patch_tells_null_from_absent() {
    let patch = |json: &str| read::<Form>(&of_json(json.as_bytes()).expect("an object")).expect("valid").avatar;
    assert!(matches!(patch(r#"{"email":"a","last":"b"}"#), Patch::Keep));
    assert!(matches!(patch(r#"{"email":"a","last":"b","avatar":null}"#), Patch::Clear));
    assert!(matches!(patch(r#"{"email":"a","last":"b","avatar":"x"}"#), Patch::Set(text) if text == "x"));
}

#[test]
fn a_query_is_read_like_a_body() {
    let form: Form = read(&of_query("email=a&last=b&rememberMe=true&email=c&scopes=x&scopes=y")).expect("valid");
    assert_eq!((form.email.as_str(), form.remember_me), ("a", Some(true)));
    assert_eq!(form.scopes.as_deref(), Some(["x".to_owned(), "y".to_owned()].as_slice()));
    let problems = read::<Form>(&of_query("rememberMe=yes")).expect_err("it has problems");
    assert_eq!(problems, ["email is required", "rememberMe must be true or false", "last is required"]);
}
