//! Values that nobody sends by mistake, in every parameter of every path, in every query parameter and in every member
//! of every body: none is answered 5xx, on either engine. The document of the API names the places.

use portcullis_api::description;
use portcullis_testkit::{PASSWORD, TestApp};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::client::{TestResponse, app, client, post, register, send};
use crate::shell_users::administrator;

/// Texts for paths, queries and bodies.
const TEXTS: [&str; 24] = [
    "",
    " ",
    "\0",
    "a\0b",
    "\u{feff}\u{202e}\u{200b}",
    "\u{1f4a3}\u{10ffff}",
    "%00",
    "%",
    "_!\\'\"`;--",
    "../../etc",
    "{id}",
    "null",
    "-1",
    "0",
    "1e400",
    "9223372036854775808",
    "99999999999999999999999999",
    "-5000-01-01T00:00:00Z",
    "+262142-12-31T23:59:59Z",
    "9999-12-31T23:59:59-05:00",
    "0000-01-01T00:00:00Z",
    "2026-01-31T12:00:60Z",
    "00000000-0000-0000-0000-000000000000",
    "fe80::1%eth0",
];

/// Values of bodies that are no texts, as they are written in JSON.
const OTHERS: [&str; 14] = [
    "null",
    "true",
    "0",
    "-0.0",
    "1e308",
    "18446744073709551616",
    "[]",
    "[null]",
    "[[]]",
    "[\"\\u0000\"]",
    "{}",
    "{\"\":{\"\":null}}",
    "\"\\ud800\"",
    "\"\\udfff\\ud800\"",
];

/// How many values each place is given. The rest is for other places, so that all are tried somewhere.
const EACH: usize = 5;

/// Chooses values in turn.
struct Turns {
    next: usize,
    long: String,
}

impl Turns {
    fn texts(&mut self) -> Vec<String> {
        self.next += EACH;
        let all =
            |n: usize| TEXTS.get(n % (TEXTS.len() + 1)).map_or_else(|| self.long.clone(), |text| (*text).to_owned());
        (self.next - EACH..self.next).map(all).collect()
    }

    /// Values as they are written in JSON.
    fn values(&mut self) -> Vec<String> {
        let texts = self.texts().into_iter().map(|text| Value::from(text).to_string());
        let others = (self.next..self.next + EACH).map(|n| OTHERS[n % OTHERS.len()].to_owned());
        texts.chain(others).collect()
    }
}

struct Tried {
    app: TestApp,
    client: Client,
    /// A session of an administrator, and one that may end.
    tokens: [String; 2],
    requests: u32,
}

impl Tried {
    /// Sends a request with an odd value at `place`: the path, the query or the body.
    async fn send(&mut self, place: &str, operation: &str, method: &Method, target: &str, body: Option<String>) {
        let token = &self.tokens[usize::from(operation == "logout")];
        let mut request = self.client.request(method.clone(), self.app.url(target)).bearer_auth(token);
        if let Some(body) = &body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        let answer: TestResponse = send(request).await;
        self.requests += 1;
        let sent = body.unwrap_or_default();
        assert!(answer.status < 500, "{operation}: {method} {target:.200} {sent:.200}: {}", answer.body);
        if answer.error() == "Validation failed" {
            assert!(answer.body["details"][place].is_array(), "{operation} of the {place}: {}", answer.body);
        }
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The object of `example` as JSON, with one member written in another way.
fn with_member(example: &Value, name: &str, value: &str) -> String {
    let members = example.as_object().into_iter().flatten().filter(|(known, _)| *known != name);
    let mut written: Vec<String> = members.map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    written.push(format!("{}:{value}", json!(name)));
    format!("{{{}}}", written.join(","))
}

/// The members of the body that an operation reads, and an example of it.
fn body<'a>(document: &'a Value, operation: &'a Value) -> Option<(Vec<&'a String>, &'a Value)> {
    let content = &operation["requestBody"]["content"]["application/json"];
    let name = content["schema"]["$ref"].as_str()?;
    let schema = document.pointer(&name[1..])?;
    Some((schema["properties"].as_object()?.keys().collect(), &content["example"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_is_answered_5xx() {
    let app = app().env("PORTCULLIS__CSRF__MODE", "cookie").env("PORTCULLIS__PASSWORD__THROTTLE", "false").start();
    let root = administrator(&app).await;
    let other = register(&app).await;
    let profile = send(client().get(app.url("/api/v1/auth/profile")).bearer_auth(&other.access)).await;
    let user = profile.body["data"]["user"]["id"].as_str().expect("an id").to_owned();
    let document: Value = serde_json::from_str(description().json()).expect("the document is JSON");
    let mut tried = Tried { app, client: client(), tokens: [root, other.access], requests: 0 };
    let mut turns = Turns { next: 0, long: "a".repeat(5_000) };

    for (template, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let id = operation["operationId"].as_str().expect("a name");
            let method: Method = method.to_ascii_uppercase().parse().expect("a method");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let of = |place: &str| -> Vec<String> {
                let there = parameters.iter().filter(|parameter| parameter["in"] == place);
                there.filter_map(|parameter| Some(parameter["name"].as_str()?.to_owned())).collect()
            };
            let good = |template: &str| {
                let path = template.replace("{role}", "ADMIN").replace("{permission}", "USER_VIEW");
                path.replace("{id}", &user).replace("{session}", &user).replace("{requestId}", "unknown")
            };
            for name in of("path") {
                for text in turns.texts() {
                    let path = good(&template.replace(&format!("{{{name}}}"), &encoded(&text)));
                    tried.send("path", id, &method, &path, None).await;
                }
            }
            for name in of("query") {
                for text in turns.texts() {
                    let target = format!("{}?url=/&{name}={}", good(template), encoded(&text));
                    tried.send("query", id, &method, &target, None).await;
                }
            }
            if let Some((members, example)) = body(&document, operation) {
                for name in members {
                    for value in turns.values() {
                        let written = with_member(example, name, &value);
                        tried.send("body", id, &method, &good(template), Some(written)).await;
                    }
                }
            }
        }
    }
    assert!(tried.requests > 400, "only {} requests", tried.requests);
    let credentials = json!({ "email": "root@example.com", "password": PASSWORD });
    assert_eq!(post(&tried.app, "/api/v1/auth/login", &credentials).await.status, 200, "the gateway is sound");
}
