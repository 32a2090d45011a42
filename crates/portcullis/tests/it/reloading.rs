//! Reloads and restarts while requests run.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use portcullis_testkit::TestApp;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{app, client, get, register};
use crate::proxied;

/// Settings with a route `/api/v1/{name}/…` for each name.
fn settings(upstream: SocketAddr, names: &[&str]) -> String {
    let mut text = String::from("[cors]\nallowed_origins = [\"https://app.example.com\"]\n");
    for name in names {
        text.push_str(&format!(
            "[upstreams.{name}]\ntargets = [\"http://{upstream}\"]\n[[routes]]\npath = \"/api/v1/{name}/{{*rest}}\"\n\
             upstream = \"{name}\"\nauth = \"none\"\ncsrf = false\n"
        ));
    }
    text
}

/// Replaces the settings file in one step, as editors and Kubernetes do.
fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("new.toml"), text).expect("writable");
    std::fs::rename(folder.join("new.toml"), folder.join("portcullis.toml")).expect("writable");
}

fn hang_up(app: &TestApp) {
    let status = Command::new("kill").args(["-HUP", &app.pid().to_string()]).status().expect("kill runs");
    assert!(status.success());
}

/// How many reloads had this result.
async fn reloads(app: &TestApp, result: &str) -> u64 {
    let page = get(app, "/metrics").await.body.as_str().unwrap_or_default().to_owned();
    let line = format!("settings_reloads_total{{result=\"{result}\"}} ");
    page.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().expect("a number"))
}

/// Waits until a reload has had this result.
pub(crate) async fn wait_for_reload(app: &TestApp, result: &str) {
    let begin = Instant::now();
    while reloads(app, result).await == 0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "no reload was {result}");
    }
}

/// The statuses of the routes `a` and `b`.
async fn statuses(app: &TestApp) -> (u16, u16) {
    (get(app, "/api/a/x").await.status, get(app, "/api/b/x").await.status)
}

#[tokio::test]
async fn a_reload_applies_new_routes() {
    let (upstream, _) = proxied::upstream().await;
    let app = app().settings(&settings(upstream, &["a"])).start();
    assert_eq!(statuses(&app).await, (200, 404));
    write(app.folder(), &settings(upstream, &["b"]));
    assert_eq!(app.run(&["reload"], ""), "The settings are in force: 1 routes, 1 upstreams.\n");
    assert_eq!(statuses(&app).await, (404, 200));
    assert_eq!((reloads(&app, "applied").await, reloads(&app, "refused").await), (1, 0));
}

#[tokio::test]
async fn an_invalid_file_is_refused_and_old_settings_stay() {
    let (upstream, _) = proxied::upstream().await;
    let app = app().settings(&settings(upstream, &["a"])).start();
    write(app.folder(), &format!("{}[limits]\nspeed = 5\n", settings(upstream, &["b"])));
    let failed = app.command(&["reload"]).output().expect("the command runs");
    let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && stderr.contains("unknown key `speed` in [limits]"), "{stderr}");
    // The command refuses the file before it asks the gateway; SIGHUP makes the gateway read it.
    hang_up(&app);
    wait_for_reload(&app, "refused").await;
    assert_eq!(statuses(&app).await, (200, 404));
    assert_eq!(reloads(&app, "applied").await, 0);
}

#[tokio::test]
async fn sighup_reloads_the_settings() {
    let (upstream, _) = proxied::upstream().await;
    let app = app().settings(&settings(upstream, &["a"])).start();
    write(app.folder(), &settings(upstream, &["b"]));
    hang_up(&app);
    wait_for_reload(&app, "applied").await;
    assert_eq!(statuses(&app).await, (404, 200));
}

#[tokio::test]
async fn keys_that_wait_for_a_restart_stay_listed() {
    let (upstream, _) = proxied::upstream().await;
    let app = app().settings(&settings(upstream, &["a"])).start();
    write(app.folder(), &format!("[session]\naccess_ttl = \"5m\"\n{}", settings(upstream, &["a", "b"])));
    for _ in 0..2 {
        let reloaded: Value = serde_json::from_str(&app.run(&["reload", "--json"], "")).expect("JSON");
        assert_eq!(reloaded["waitingForRestart"], serde_json::json!(["session.access_ttl"]));
        assert_eq!(reloaded["routes"], 2);
    }
    assert_eq!(statuses(&app).await, (200, 200));
}

#[tokio::test]
async fn live_keys_are_not_listed_as_waiting_for_a_restart() {
    let (upstream, _) = proxied::upstream().await;
    let with_server =
        |server: &str| format!("[session]\nissuer = \"gate\"\n[server]\n{server}\n{}", settings(upstream, &["a"]));
    let app = app().settings(&with_server("")).start();
    write(app.folder(), &with_server("body_timeout = \"7s\"\npublic_url = \"https://gate.example.com\""));
    let reloaded: Value = serde_json::from_str(&app.run(&["reload", "--json"], "")).expect("JSON");
    assert_eq!(reloaded["waitingForRestart"], serde_json::json!([]));
}

#[tokio::test]
async fn mails_link_to_the_public_url_of_the_last_reload() {
    let app = app().settings("").start();
    write(app.folder(), "[server]\npublic_url = \"https://gate.example.com\"\n");
    app.run(&["reload"], "");
    register(&app).await;
    let mail = app.line_with("mail to");
    assert!(mail.contains("https://gate.example.com/verify-email#"), "{mail}");
}

#[tokio::test]
async fn a_reload_without_a_gateway_fails_with_a_hint() {
    let builder = app();
    let failed = builder.command(&["reload"]).output().expect("the command runs");
    let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && stderr.contains("no gateway answers at"), "{stderr}");
    assert!(stderr.contains("hint: "), "{stderr}");
}

#[tokio::test]
async fn only_its_user_may_use_the_control_socket() {
    use std::os::unix::fs::PermissionsExt;
    let app = app().start();
    let path = app.folder().join("portcullis-data/control.sock");
    let mode = |path: &Path| std::fs::metadata(path).expect("the file exists").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
}

#[tokio::test]
async fn a_killed_process_leaves_no_blocking_socket() {
    let mut app = app().start();
    app.crash_and_restart();
    assert!(app.run(&["reload"], "").contains("in force"));
}

#[tokio::test]
async fn the_control_socket_is_removed_at_the_stop() {
    let mut app = app().start();
    app.stop();
    assert!(!app.folder().join("portcullis-data/control.sock").exists());
}

/// Runs requests in the background and counts them; every one must succeed.
struct Load {
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    callers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Starts `callers` tasks that send one request after the other. `request` gets a number that differs between
    /// callers and grows with each request.
    fn start<F>(callers: usize, request: impl Fn(usize) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = reqwest::Response> + Send,
    {
        let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let callers = (0..callers)
            .map(|caller| {
                let (is_over, served, request) = (Arc::clone(&is_over), Arc::clone(&served), request.clone());
                tokio::spawn(async move {
                    let mut number = caller;
                    while !is_over.load(Ordering::Relaxed) {
                        number += 1;
                        let response = request(number).await;
                        assert_eq!(response.status().as_u16(), 200);
                        response.bytes().await.expect("a complete response");
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Self { is_over, served, callers }
    }

    /// Waits until this many more requests have succeeded.
    async fn wait_for(&self, requests: u64) {
        let goal = self.served.load(Ordering::Relaxed) + requests;
        while self.served.load(Ordering::Relaxed) < goal {
            assert!(!self.callers.iter().any(tokio::task::JoinHandle::is_finished), "a request failed");
            tokio::task::yield_now().await;
        }
    }

    /// Ends the load and returns how many requests succeeded.
    async fn finish(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("no request failed");
        }
        self.served.load(Ordering::Relaxed)
    }
}

/// An upstream that sends back every text it gets on a WebSocket.
async fn echo_upstream() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { continue };
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() && socket.send(message).await.is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_fail_no_request() {
    let (upstream, _) = proxied::upstream().await;
    let echo = echo_upstream().await;
    let with_socket = |names: &[&str]| {
        format!(
            "{}[upstreams.echo]\ntargets = [\"http://{echo}\"]\n[[routes]]\npath = \"/api/v1/socket\"\n\
             upstream = \"echo\"\nauth = \"none\"\n",
            settings(upstream, names)
        )
    };
    let app = app().settings(&with_socket(&["a", "b"])).start();
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/api/socket", app.address())).await.expect("a WebSocket");
    let (url, shared) = (app.url("/api/a/x"), client());
    let load = Load::start(8, move |_| {
        let request = shared.get(&url);
        async move { request.send().await.expect("the connection stays open") }
    });
    for n in 0..100 {
        write(app.folder(), &with_socket(if n % 2 == 0 { &["a"] } else { &["a", "b"] }));
        hang_up(&app);
        load.wait_for(8).await;
    }
    let served = load.finish().await;
    socket.send(Message::text("still here")).await.expect("the WebSocket is open");
    assert_eq!(socket.next().await.expect("an echo").expect("a message"), Message::text("still here"));
    let (applied, refused) = (reloads(&app, "applied").await, reloads(&app, "refused").await);
    // Signals that arrive during a reload count as one.
    assert!(applied >= 20 && refused == 0, "{applied} reloads, {refused} refused");
    eprintln!("{served} requests during {applied} reloads, none failed");
}

/// Two replicas behind a client that tries the other one when a replica refuses the connection, as a balancer does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_each_replica_fails_no_request() {
    let (upstream, _) = proxied::upstream().await;
    let text = settings(upstream, &["a"]);
    let mut replicas: Vec<TestApp> = (0..2).map(|_| app().settings(&text).start()).collect();
    let addresses: Arc<Vec<Mutex<SocketAddr>>> =
        Arc::new(replicas.iter().map(|replica| Mutex::new(replica.address())).collect());
    let (known, shared) = (Arc::clone(&addresses), client());
    let load = Load::start(4, move |number| {
        let (addresses, client) = (Arc::clone(&known), shared.clone());
        async move {
            let send = |number: usize| {
                let address = *addresses[number % 2].lock().expect("no panic while locked");
                client.get(format!("http://{address}/api/a/x")).send()
            };
            match send(number).await {
                // The connection was refused, or a kept one was closed just then: a GET may be sent again.
                Err(error) if error.is_connect() || error.is_request() => send(number + 1).await,
                response => response,
            }
            .expect("one of the two replicas responds")
        }
    });
    for _ in 0..2 {
        for (n, replica) in replicas.iter_mut().enumerate() {
            load.wait_for(50).await;
            tokio::task::block_in_place(|| replica.stop_and_restart());
            *addresses[n].lock().expect("no panic while locked") = replica.address();
        }
    }
    load.wait_for(50).await;
    let served = load.finish().await;
    eprintln!("{served} requests during four restarts, none failed");
}

/// A process on a socket that a supervisor keeps open: clients that connect during a restart wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_on_an_inherited_socket_fails_no_request() {
    let (upstream, _) = proxied::upstream().await;
    let mut app = app().settings(&settings(upstream, &["a"])).on_held_socket().start();
    let url = app.url("/api/a/x");
    let requested = url.clone();
    let load = Load::start(4, move |_| {
        // A client of its own, because the server may close a kept connection just as it is used.
        let request = client().get(&requested);
        async move {
            loop {
                let request = request.try_clone().expect("it has no body");
                let response = request.send().await.expect("no connection is refused");
                // On a busy machine a start may take over a second. Then the gateway says when to come again.
                if response.status() != 503 || !response.headers().contains_key("retry-after") {
                    return response;
                }
            }
        }
    });
    for _ in 0..4 {
        load.wait_for(25).await;
        tokio::task::block_in_place(|| app.stop_and_restart());
        assert_eq!(app.url("/api/a/x"), url, "the socket is the same");
    }
    let served = load.finish().await;
    eprintln!("{served} requests during four restarts of one process, none failed");
}
