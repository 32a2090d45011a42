//! Settings that change while requests run.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use portcullis_testkit::TestApp;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{app, client, get};
use crate::proxied;

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

fn write(folder: &Path, text: &str) {
    // As editors and Kubernetes do it: in one step.
    std::fs::write(folder.join("new.toml"), text).expect("writable");
    std::fs::rename(folder.join("new.toml"), folder.join("portcullis.toml")).expect("writable");
}

fn hang_up(app: &TestApp) {
    let status = Command::new("kill").args(["-HUP", &app.pid().to_string()]).status().expect("kill runs");
    assert!(status.success());
}

async fn reloads(app: &TestApp, result: &str) -> u64 {
    let page = get(app, "/metrics").await.body.as_str().unwrap_or_default().to_owned();
    let line = format!("settings_reloads_total{{result=\"{result}\"}} ");
    page.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn a_reload_puts_everything_in_force_at_once_and_a_bad_file_changes_nothing() {
    let (upstream, _) = proxied::upstream().await;
    let app = app().settings(&settings(upstream, &["a"])).start();
    assert_eq!((get(&app, "/api/a/x").await.status, get(&app, "/api/b/x").await.status), (200, 404));
    write(app.folder(), &settings(upstream, &["b"]));
    assert_eq!(app.run(&["reload"], ""), "The settings are in force: 1 routes, 1 upstreams.\n");
    assert_eq!((get(&app, "/api/a/x").await.status, get(&app, "/api/b/x").await.status), (404, 200));

    write(app.folder(), &format!("{}[limits]\nspeed = 5\n", settings(upstream, &["a"])));
    let failed = app.command(&["reload"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && said.contains("unknown key `speed` in [limits]"), "{said}");
    hang_up(&app);
    for _ in 0..100 {
        if reloads(&app, "refused").await == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((reloads(&app, "applied").await, reloads(&app, "refused").await), (1, 1));
    assert_eq!((get(&app, "/api/a/x").await.status, get(&app, "/api/b/x").await.status), (404, 200));

    let slower = format!("[session]\naccess_ttl = \"5m\"\n{}", settings(upstream, &["a", "b"]));
    write(app.folder(), &slower);
    let said = app.run(&["reload", "--json"], "");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["waitingForRestart"], serde_json::json!(["session.access_ttl"]));
    assert_eq!(said["routes"], 2);
    let again: Value = serde_json::from_str(&app.run(&["reload", "--json"], "")).expect("JSON");
    assert_eq!(again["waitingForRestart"], said["waitingForRestart"], "it still waits");
    assert_eq!((get(&app, "/api/a/x").await.status, get(&app, "/api/b/x").await.status), (200, 200));
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_said_to_be() {
    let builder = app();
    let failed = builder.command(&["reload"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && said.contains("no gateway answers at") && said.contains("hint: "), "{said}");
}

#[tokio::test]
async fn the_control_socket_is_for_its_own_user_and_a_dead_ones_place_is_taken() {
    use std::os::unix::fs::PermissionsExt;
    let mut app = app().start();
    let path = app.folder().join("portcullis-data/control.sock");
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
    app.crash_and_restart();
    assert!(app.run(&["reload"], "").contains("in force"), "the file of the dead process stood in the way");
    app.stop();
    assert!(!path.exists(), "it goes with its process");
}

/// Routes come, go and change upstreams a hundred times under load, with a WebSocket open: not a request fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_hundred_reloads_drop_nothing() {
    let (upstream, _) = proxied::upstream().await;
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let echo_address = echo.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = echo.accept().await {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { continue };
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() && socket.send(message).await.is_err() {
                    break;
                }
            }
        }
    });
    let with_socket = |names: &[&str]| {
        format!(
            "{}[upstreams.echo]\ntargets = [\"http://{echo_address}\"]\n[[routes]]\npath = \"/api/v1/socket\"\n\
             upstream = \"echo\"\nauth = \"none\"\n",
            settings(upstream, names)
        )
    };
    let app = Arc::new(app().settings(&with_socket(&["a", "b"])).start());
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/api/socket", app.address())).await.expect("it opens");
    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (app, done, served, client) = (Arc::clone(&app), Arc::clone(&done), Arc::clone(&served), client());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let answer = client.get(app.url("/api/a/x")).send().await.expect("no connection is dropped");
                    assert_eq!(answer.status().as_u16(), 200);
                    answer.bytes().await.expect("no answer is cut");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 0..100 {
        write(app.folder(), &with_socket(if n % 2 == 0 { &["a"] } else { &["a", "b"] }));
        hang_up(&app);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no request failed");
    }
    socket.send(Message::text("still here")).await.expect("it is open");
    assert_eq!(socket.next().await.expect("an echo").expect("whole"), Message::text("still here"));
    let (applied, refused) = (reloads(&app, "applied").await, reloads(&app, "refused").await);
    // Hang-ups that come while one is being followed are one.
    assert!(applied >= 20 && refused == 0, "{applied} reloads, {refused} refused");
    let served = served.load(Ordering::Relaxed);
    eprintln!("{served} requests during {applied} reloads, none failed");
    assert!(served > 100);
}

/// Two replicas behind a client that asks the other one when one is not ready or refuses a connection: each is
/// stopped and started again under load, and nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_each_replica_under_load_fails_no_request() {
    let (upstream, _) = proxied::upstream().await;
    let text = settings(upstream, &["a"]);
    let replicas: Vec<TestApp> = (0..2).map(|_| app().settings(&text).start()).collect();
    let addresses: Arc<Vec<std::sync::Mutex<SocketAddr>>> =
        Arc::new(replicas.iter().map(|replica| std::sync::Mutex::new(replica.address())).collect());
    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4usize)
        .map(|n| {
            let (addresses, done, served, client) =
                (Arc::clone(&addresses), Arc::clone(&done), Arc::clone(&served), client());
            tokio::spawn(async move {
                let mut turn = n;
                while !done.load(Ordering::Relaxed) {
                    turn += 1;
                    let address = |turn: usize| *addresses[turn % 2].lock().expect("sound");
                    let ask = |address: SocketAddr| client.get(format!("http://{address}/api/a/x")).send();
                    let answer = match ask(address(turn)).await {
                        // As any balancer does: nothing was sent yet, so the other one may be asked.
                        Err(error) if error.is_connect() => ask(address(turn + 1)).await,
                        // A kept connection that the server closed just then; a GET may be sent again.
                        Err(error) if error.is_request() => ask(address(turn + 1)).await,
                        answer => answer,
                    };
                    let answer = answer.expect("one of the two answers");
                    assert_eq!(answer.status().as_u16(), 200);
                    answer.bytes().await.expect("no answer is cut");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut replicas = replicas;
    for _ in 0..2 {
        for (n, replica) in replicas.iter_mut().enumerate() {
            tokio::time::sleep(Duration::from_millis(200)).await;
            tokio::task::block_in_place(|| replica.stop_and_restart());
            *addresses[n].lock().expect("sound") = replica.address();
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no request failed");
    }
    let served = served.load(Ordering::Relaxed);
    eprintln!("{served} requests during four restarts, none failed");
    assert!(served > 100);
    drop(replicas);
}

/// One process on a socket that a supervisor holds: it is replaced under load, and who connects meanwhile waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_on_a_held_socket_refuses_nobody() {
    let (upstream, _) = proxied::upstream().await;
    let mut app = app().settings(&settings(upstream, &["a"])).on_held_socket().start();
    let url = app.url("/api/a/x");
    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (url, done, served) = (url.clone(), Arc::clone(&done), Arc::clone(&served));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    // A connection each: one that was kept may be closed just as it is used, whoever listens.
                    let answer = client().get(&url).send().await.expect("nobody is refused");
                    assert_eq!(answer.status().as_u16(), 200);
                    answer.bytes().await.expect("no answer is cut");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        tokio::task::block_in_place(|| app.stop_and_restart());
        assert_eq!(app.url("/api/a/x"), url, "it is the same socket");
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no request failed");
    }
    let served = served.load(Ordering::Relaxed);
    eprintln!("{served} requests during four restarts of one process, none failed");
    assert!(served > 100);
}
