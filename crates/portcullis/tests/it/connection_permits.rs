//! A WebSocket counts against the limits of connections, and a stop waits for it (SR-55).

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use portcullis_testkit::TestApp;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::client::{app, get};
use crate::proxied::web_sockets::echo;

/// How long an event may take that must happen.
const DEADLINE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// A gateway in front of [`echo`], with these keys of `[server]`.
async fn gateway(server: &str) -> TestApp {
    let upstream = echo().await;
    let settings = format!(
        "[server]\n{server}\n[upstreams.u]\ntargets = [\"http://{upstream}\"]\n\
         [[routes]]\npath = \"/api/v1/socket\"\nupstream = \"u\"\nauth = \"none\"\n"
    );
    app().settings(&settings).start()
}

/// An open WebSocket; `None` if the connection was closed.
async fn open(app: &TestApp) -> Option<Socket> {
    let url = format!("ws://{}/api/v1/socket", app.address());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.ok()?;
    socket.send(Message::text("hello")).await.expect("the socket is open");
    assert_eq!(socket.next().await.expect("an echo").expect("whole"), Message::text("hello"));
    Some(socket)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_55_web_sockets_count_for_their_address() {
    let app = gateway("max_connections_per_address = 20").await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(open(&app).await.expect("the address has room"));
    }
    assert!(open(&app).await.is_none(), "a WebSocket too many");
    sockets.clear();
    let reopened = async { while open(&app).await.is_none() {} };
    tokio::time::timeout(DEADLINE, reopened).await.expect("a closed WebSocket still counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_55_open_web_sockets_are_counted_in_the_metrics() {
    let app = gateway("").await;
    let _sockets = (open(&app).await, open(&app).await, open(&app).await);
    let page = get(&app, "/metrics").await.body.as_str().unwrap_or_default().to_owned();
    let open = page.lines().find_map(|line| line.strip_prefix("connections_open ")).expect("a gauge");
    assert!(open.parse::<f64>().expect("a number") >= 4.0, "{open}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_55_a_stop_waits_for_the_close_frames() {
    let mut app = gateway("drain_timeout = \"10s\"").await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(open(&app).await.expect("the tunnel opens"));
    }
    app.stop();
    for (number, mut socket) in sockets.into_iter().enumerate() {
        let last = tokio::time::timeout(DEADLINE, socket.next()).await.expect("the socket ends");
        let Some(Ok(Message::Close(Some(frame)))) = last else { panic!("{number}: no close frame: {last:?}") };
        assert_eq!(frame.code, CloseCode::Away, "{number}");
    }
}
