//! Open streams end with the session, the API key or the right that they stand on (SR-56), and a WebSocket is opened by the
//! cookies of a page of ours only (SR-53).

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use portcullis_model::Clock;
use portcullis_testkit::{PASSWORD, Stopwatch, TestApp};
use reqwest::{Client, Method};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::web_sockets::echo;
use crate::client::{app, call, client, get, register, register_confirmed, send};
use crate::shell_users::shell_user;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The longest wait for the end of a stream. Only a failing test waits for so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// One route, `/api/v1/streams/…`, with more keys of its own.
fn settings(upstream: SocketAddr, more: &str) -> String {
    format!(
        "[upstreams.u]\ntargets = [\"http://{upstream}\"]\n[[routes]]\npath = \"/api/v1/streams/{{*rest}}\"\n\
         upstream = \"u\"\ncsrf = false\nmax_body = \"0\"\n{more}\n"
    )
}

async fn open(app: &TestApp, headers: &[(&'static str, &str)]) -> Result<Socket, Error> {
    let url = format!("ws://{}/api/v1/streams/socket", app.address());
    let mut request = url.into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a value"));
    }
    tokio_tungstenite::connect_async(request).await.map(|(socket, _)| socket)
}

/// A WebSocket that has echoed once.
async fn echoing(app: &TestApp, name: &'static str, credential: &str) -> Socket {
    let socket = open(app, &[(name, credential)]).await.expect("the tunnel opens");
    echoes(socket).await.expect("the socket is open")
}

/// The socket, if it echoes a message.
async fn echoes(mut socket: Socket) -> Option<Socket> {
    socket.send(Message::text("hello")).await.ok()?;
    let echo = socket.next().await?.ok()?;
    (echo == Message::text("hello")).then_some(socket)
}

/// A WebSocket that has echoed once, by a credential that is valid for a few seconds. On a busy machine it may be over too early;
/// then there is another one.
async fn echoing_for_a_while(app: &TestApp, name: &'static str, make: impl AsyncFn() -> String) -> Socket {
    let stopwatch = Stopwatch::start();
    loop {
        let credential = make().await;
        if let Ok(socket) = open(app, &[(name, &credential)]).await
            && let Some(socket) = echoes(socket).await
        {
            return socket;
        }
        assert!(stopwatch.elapsed() < DEADLINE, "no tunnel opens");
    }
}

/// Waits for the close frame and returns its code.
async fn close_code(socket: &mut Socket) -> CloseCode {
    match tokio::time::timeout(DEADLINE, socket.next()).await.expect("the tunnel closes") {
        Some(Ok(Message::Close(Some(frame)))) => frame.code,
        other => panic!("no close frame: {other:?}"),
    }
}

#[tokio::test]
async fn sr_56_a_demotion_ends_the_web_sockets_of_the_role() {
    let app = app().settings(&settings(echo().await, "roles = [\"ADMIN\"]")).start();
    let eve = shell_user(&app, "eve", "ADMIN").await;
    let root = shell_user(&app, "root", "ADMIN").await;
    let mut socket = echoing(&app, "authorization", &format!("Bearer {}", eve.access)).await;
    let mut others = echoing(&app, "authorization", &format!("Bearer {}", root.access)).await;
    app.run(&["users", "set-role", &eve.email, "MANAGER"], "");
    assert_eq!(close_code(&mut socket).await, CloseCode::Policy);
    others.send(Message::text("mine")).await.expect("the socket is open");
    assert_eq!(others.next().await.expect("an echo").expect("whole"), Message::text("mine"));
}

#[tokio::test]
async fn sr_56_a_session_at_its_end_takes_its_web_socket_with_it() {
    let session = "[session]\naccess_ttl = \"3s\"\nabsolute = \"3s\"\n";
    let app = app().settings(&format!("{session}{}", settings(echo().await, ""))).start();
    let bearer = async || format!("Bearer {}", register(&app).await.access);
    let mut socket = echoing_for_a_while(&app, "authorization", bearer).await;
    assert_eq!(close_code(&mut socket).await, CloseCode::Policy);
}

#[tokio::test]
async fn sr_56_an_expired_access_token_ends_no_web_socket() {
    let session = "[session]\naccess_ttl = \"1s\"\nclock_leeway = \"0s\"\n";
    let app = app().settings(&format!("{session}{}", settings(echo().await, ""))).start();
    let access = Mutex::new(String::new());
    let bearer = async || {
        let account = register(&app).await;
        access.lock().expect("no panic while locked").clone_from(&account.access);
        format!("Bearer {}", account.access)
    };
    let mut socket = echoing_for_a_while(&app, "authorization", bearer).await;
    let access = access.into_inner().expect("no panic while locked");
    let stopwatch = Stopwatch::start();
    while call(&app, Method::GET, "/api/v1/auth/profile", &access, None).await.status == 200 {
        assert!(stopwatch.elapsed() < DEADLINE, "the token expires");
    }
    socket.send(Message::text("still here")).await.expect("the socket is open");
    assert_eq!(socket.next().await.expect("an echo").expect("whole"), Message::text("still here"));
}

#[tokio::test]
async fn sr_56_an_expired_api_key_takes_its_web_socket_with_it() {
    let csrf = "[csrf]\nmode = \"cookie\"\n";
    let app = app().settings(&format!("{csrf}{}", settings(echo().await, ""))).start();
    let account = register_confirmed(&app).await;
    let key = async || {
        let soon = Clock::system().now() + Duration::from_secs(3);
        let key = json!({ "name": "short", "expiresAt": soon.to_rfc3339() });
        let made = call(&app, Method::POST, "/api/v1/api-keys", &account.access, Some(&key)).await;
        made.body["data"]["secret"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned()
    };
    let mut socket = echoing_for_a_while(&app, "x-api-key", key).await;
    assert_eq!(close_code(&mut socket).await, CloseCode::Policy);
}

#[tokio::test]
async fn sr_56_a_reload_that_takes_the_right_ends_the_web_socket() {
    for stricter in ["roles = [\"ADMIN\"]", "networks = [\"203.0.113.0/24\"]", "methods = [\"POST\"]"] {
        let upstream = echo().await;
        let app = app().settings(&settings(upstream, "")).start();
        let account = register(&app).await;
        let mut socket = echoing(&app, "authorization", &format!("Bearer {}", account.access)).await;
        std::fs::write(app.folder().join("portcullis.toml"), settings(upstream, stricter)).expect("writable");
        app.run(&["reload"], "");
        assert_eq!(close_code(&mut socket).await, CloseCode::Policy, "{stricter}");
    }
}

#[tokio::test]
async fn sr_56_a_reload_that_leaves_the_right_ends_no_web_socket() {
    let upstream = echo().await;
    let app = app().settings(&settings(upstream, "")).start();
    let account = register(&app).await;
    let mut socket = echoing(&app, "authorization", &format!("Bearer {}", account.access)).await;
    std::fs::write(app.folder().join("portcullis.toml"), settings(upstream, "roles = [\"VIEWER\"]")).expect("writable");
    app.run(&["reload"], "");
    socket.send(Message::text("still here")).await.expect("the socket is open");
    assert_eq!(socket.next().await.expect("an echo").expect("whole"), Message::text("still here"));
}

/// Waits until no stream is open.
async fn wait_until_none_is_open(app: &TestApp) {
    let stopwatch = Stopwatch::start();
    loop {
        let page = get(app, "/metrics").await.body.as_str().unwrap_or_default().to_owned();
        if page.lines().any(|line| line == "live_streams 0") {
            return;
        }
        assert!(stopwatch.elapsed() < DEADLINE, "a stream outlived its session");
    }
}

/// An upstream with an endless answer. Tells when it can send no more of it, because nobody reads.
async fn flood() -> (SocketAddr, oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (blocked, is_blocked) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("the gateway reads");
        let part = vec![7; 64 * 1024];
        while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), stream.write_all(&part)).await {
            written.expect("the gateway reads");
        }
        blocked.send(()).expect("the test waits");
        // Open until the gateway closes it.
        while stream.write_all(&part).await.is_ok() {}
    });
    (address, is_blocked)
}

/// Opens an endless answer, reads none of it, and ends the session.
async fn unread_answer_ends_at_logout(reader: Client) {
    let (upstream, is_blocked) = flood().await;
    let app = app().settings(&settings(upstream, "")).start();
    let account = register(&app).await;
    let request = reader.get(app.url("/api/v1/streams/download")).bearer_auth(&account.access);
    let unread = request.send().await.expect("the answer begins");
    is_blocked.await.expect("every buffer on the way is full");
    assert_eq!(call(&app, Method::POST, "/api/v1/auth/logout", &account.access, None).await.status, 200);
    wait_until_none_is_open(&app).await;
    drop(unread);
}

#[tokio::test]
async fn sr_56_an_answer_that_nobody_reads_ends_at_logout() {
    unread_answer_ends_at_logout(client()).await;
}

#[tokio::test]
async fn sr_56_an_http_2_answer_that_nobody_reads_ends_at_logout() {
    let client = Client::builder().no_proxy().http2_prior_knowledge();
    unread_answer_ends_at_logout(client.build().expect("a client")).await;
}

#[tokio::test]
async fn sr_56_a_web_socket_that_nobody_reads_ends_at_logout() {
    let app = app().settings(&settings(echo().await, "")).start();
    let account = register(&app).await;
    let mut socket = echoing(&app, "authorization", &format!("Bearer {}", account.access)).await;
    // The echoes fill every buffer on the way, until the client cannot send either.
    let message = Message::text("x".repeat(1 << 20));
    while tokio::time::timeout(Duration::from_secs(1), socket.send(message.clone())).await.is_ok() {}
    assert_eq!(call(&app, Method::POST, "/api/v1/auth/logout", &account.access, None).await.status, 200);
    wait_until_none_is_open(&app).await;
}

#[tokio::test]
async fn sr_53_only_our_pages_open_a_web_socket_by_cookie() {
    let app = app().settings(&settings(echo().await, "")).start();
    let account = register(&app).await;
    let ours = app.url("").trim_end_matches('/').to_owned();
    let body = json!({ "email": account.email, "password": PASSWORD, "transport": "cookie" });
    let signed_in = send(client().post(app.url("/api/auth/login")).header("origin", &ours).json(&body)).await;
    let cookie = format!("theirs=é; portcullis-session={}", signed_in.cookie("portcullis-session").expect("a cookie"));
    for origin in ["https://evil.example", "null"] {
        let refused = open(&app, &[("cookie", &cookie), ("origin", origin)]).await;
        assert!(matches!(refused, Err(Error::Http(response)) if response.status() == 403), "{origin}");
    }
    assert!(open(&app, &[("cookie", &cookie)]).await.is_err(), "from nowhere");
    open(&app, &[("cookie", &cookie), ("origin", &ours)]).await.expect("from our page");
}
