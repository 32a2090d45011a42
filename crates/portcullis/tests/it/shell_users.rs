//! Users who are made at the shell, and the gateway for tests that sign them in.

use portcullis_testkit::{PASSWORD, TestApp, TestAppBuilder};
use serde_json::{Value, json};

use crate::client::{Account, app, post};

/// A gateway for bearer-only clients.
pub(crate) fn bearer_gateway() -> TestAppBuilder {
    app().env("PORTCULLIS__CSRF__MODE", "cookie")
}

/// Signs in an administrator made at the shell.
pub(crate) async fn administrator(app: &TestApp) -> String {
    let create = "users create --email root@example.com --username rootuser --first-name Root --last-name User \
                  --role ADMIN --password-stdin";
    let made = app.run(&create.split_whitespace().collect::<Vec<_>>(), PASSWORD);
    assert!(made.contains("root@example.com"), "{made}");
    sign_in(app, "root@example.com").await
}

/// Makes a user with this role at the shell, whose address counts as confirmed, and signs them in.
pub(crate) async fn shell_user(app: &TestApp, name: &str, role: &str) -> Account {
    let email = format!("{name}@example.com");
    let create = format!(
        "users create --email {email} --username {name} --first-name Ada --last-name Lovelace --role {role} \
         --password-stdin"
    );
    app.run(&create.split_whitespace().collect::<Vec<_>>(), PASSWORD);
    let answer = post(app, "/api/v1/auth/login", &json!({ "email": email, "password": PASSWORD })).await;
    let tokens = &answer.body["data"]["tokens"];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned();
    Account { email, access: text(&tokens["accessToken"]), refresh: text(&tokens["refreshToken"]) }
}

async fn sign_in(app: &TestApp, email: &str) -> String {
    let response = post(app, "/api/v1/auth/login", &json!({ "email": email, "password": PASSWORD })).await;
    response.body["data"]["tokens"]["accessToken"].as_str().unwrap_or_else(|| panic!("{}", response.body)).to_owned()
}
