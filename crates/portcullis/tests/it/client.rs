//! Sends requests to a test's server and reads its responses.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis_testkit::{TestApp, TestAppBuilder, registration};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// Builds a server from the binary under test. Its rate limits are off, so that only tests of limits meet them.
pub(crate) fn app() -> TestAppBuilder {
    TestAppBuilder::new(env!("CARGO_BIN_EXE_portcullis")).env("PORTCULLIS__LIMITS__ENABLED", "false")
}

/// A response whose body was read as JSON, or as text if it is not JSON.
#[derive(Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl TestResponse {
    pub(crate) fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The value of a cookie that the response sets.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let prefix = format!("{name}=");
        self.headers.get_all("set-cookie").iter().find_map(|value| {
            let pair = value.to_str().ok()?.split(';').next()?;
            pair.strip_prefix(&prefix).map(str::to_owned)
        })
    }
}

pub(crate) async fn send(request: RequestBuilder) -> TestResponse {
    let response = request.send().await.expect("the server responds");
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let bytes = response.bytes().await.expect("a complete response");
    let body =
        serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    TestResponse { status, headers, body }
}

pub(crate) fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client")
}

pub(crate) async fn post(app: &TestApp, path: &str, body: &Value) -> TestResponse {
    send(client().post(app.url(path)).json(body)).await
}

pub(crate) async fn get(app: &TestApp, path: &str) -> TestResponse {
    send(client().get(app.url(path))).await
}

pub(crate) async fn call(app: &TestApp, method: Method, path: &str, token: &str, body: Option<&Value>) -> TestResponse {
    let request = client().request(method, app.url(path)).bearer_auth(token);
    send(match body {
        Some(body) => request.json(body),
        None => request,
    })
    .await
}

/// A registered user with the tokens of the first session.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) email: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// Registers a user whose name no other user of this process has.
pub(crate) async fn register(app: &TestApp) -> Account {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("user{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let response = post(app, "/api/v1/auth/register", &registration(&name)).await;
    assert_eq!(response.status, 201, "{}", response.body);
    let tokens = &response.body["data"]["tokens"];
    Account {
        email: format!("{name}@example.com"),
        access: tokens["accessToken"].as_str().expect("an access token").to_owned(),
        refresh: tokens["refreshToken"].as_str().expect("a refresh token").to_owned(),
    }
}

/// Registers a user who then follows the link that confirms the address, which the development server prints.
pub(crate) async fn register_confirmed(app: &TestApp) -> Account {
    let account = register(app).await;
    let token = crate::passwords::mailed_to(app, "verify_email", &account.email);
    let verified = post(app, "/api/v1/auth/verify-email", &serde_json::json!({ "token": token })).await;
    assert_eq!(verified.status, 200, "{}", verified.body);
    account
}

/// Sends bytes unchanged and reads until the server closes the connection, which it must.
pub(crate) fn raw(app: &TestApp, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.address()).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    stream.write_all(bytes).expect("the server reads");
    let mut response = Vec::new();
    // A connection that is reset after the response has still delivered the response.
    let ended = stream.read_to_end(&mut response);
    let stayed_open = ended.is_err_and(|error| [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()));
    let response = String::from_utf8_lossy(&response).into_owned();
    assert!(!stayed_open, "the connection stayed open after {response:?}");
    response
}

/// The id of a signed-in user.
pub(crate) async fn id_of(app: &TestApp, account: &Account) -> String {
    let mine = call(app, Method::GET, "/api/v1/auth/profile", &account.access, None).await;
    mine.body["data"]["user"]["id"].as_str().expect("an id").to_owned()
}

/// Asserts that a response is this refusal.
pub(crate) fn refused(response: &TestResponse, status: u16, error: &str) {
    assert_eq!((response.status, response.error()), (status, error), "{}", response.body);
}
