//! WebSockets through the gateway: opened with a valid token, closed at the end of its session.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use portcullis_testkit::TestApp;
use reqwest::Method;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::settings;
use crate::client::{app, call, post, register};

/// An upstream that sends every text message of a WebSocket back.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

async fn open_socket(app: &TestApp, access: &str) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
    let url = format!("ws://{}/api/v1/projects/socket", app.address());
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert("authorization", format!("Bearer {access}").parse().expect("a value"));
    tokio_tungstenite::connect_async(request).await.map(|(socket, _)| socket)
}

async fn assert_echo(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.expect("the socket is open");
    assert_eq!(socket.next().await.expect("an echo").expect("whole"), Message::text(text));
}

#[tokio::test]
async fn a_web_socket_needs_a_valid_token() {
    let app = app().settings(&settings(echo().await)).start();
    assert!(open_socket(&app, "nonsense").await.is_err());
}

#[tokio::test]
async fn a_web_socket_stays_open_across_a_refresh() {
    let app = app().settings(&settings(echo().await)).start();
    let account = register(&app).await;
    let mut socket = open_socket(&app, &account.access).await.expect("the tunnel opens");
    assert_echo(&mut socket, "hello").await;
    let refreshed = post(&app, "/api/v1/auth/refresh", &json!({ "refreshToken": account.refresh })).await;
    assert_eq!(refreshed.status, 200);
    assert_echo(&mut socket, "still here").await;
}

#[tokio::test]
async fn the_end_of_a_session_closes_its_own_web_sockets_only() {
    let app = app().settings(&settings(echo().await)).start();
    let (account, other) = (register(&app).await, register(&app).await);
    let mut socket = open_socket(&app, &account.access).await.expect("the tunnel opens");
    let mut others = open_socket(&app, &other.access).await.expect("the tunnel opens");
    assert_echo(&mut socket, "hello").await;
    assert_eq!(call(&app, Method::POST, "/api/v1/auth/logout", &account.access, None).await.status, 200);
    let end = tokio::time::timeout(Duration::from_secs(60), socket.next()).await.expect("the tunnel closes at logout");
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
    assert_echo(&mut others, "mine").await;
}
