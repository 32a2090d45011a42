//! Private Redis servers: one server, Sentinel or a cluster. They use free loopback ports and temporary folders, and stop with
//! the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::loopback::{free_port, wait_until_open};

/// Ends the server when this process closes the pipe, in whatever way it ends.
const STOP_WITH_PARENT_SCRIPT: &str =
    r#""$@" >/dev/null 2>&1 & server=$!; echo $server; cat >/dev/null; kill -9 $server 2>/dev/null"#;
/// How long a server, a cluster or a fail-over may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A Redis server. It stops when it is dropped.
pub struct PrivateRedis {
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    running: Mutex<Option<Running>>,
    /// The folder with its TLS certificate.
    certificates: Option<TempDir>,
}

struct Running {
    leash: Child,
    pid: String,
}

impl PrivateRedis {
    /// Starts a server without a password.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with options of `redis-server`, such as `["--requirepass", "secret"]`.
    pub fn start_with(options: &[&str]) -> Self {
        Self::start_as("redis-server", options)
    }

    /// Starts a server that accepts TLS only, as `127.0.0.1`. Returns also the file of its certificate authority.
    pub fn start_with_tls() -> (Self, PathBuf) {
        let certified =
            rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate is made");
        let certificates = tempfile::tempdir().expect("a folder can be made");
        let file = |name: &str| certificates.path().join(name);
        let (certificate, key) = (file("server.pem"), file("server.key"));
        std::fs::write(&certificate, certified.cert.pem()).expect("the folder is writable");
        std::fs::write(&key, certified.signing_key.serialize_pem()).expect("the folder is writable");
        let (certificate_path, key_path) = (certificate.display().to_string(), key.display().to_string());
        let port = free_port().to_string();
        let mut server = Self::start_as(
            "redis-server",
            &[
                "--port",
                "0",
                "--tls-port",
                &port,
                "--tls-auth-clients",
                "no",
                "--tls-cert-file",
                &certificate_path,
                "--tls-key-file",
                &key_path,
            ],
        );
        server.certificates = Some(certificates);
        (server, certificate)
    }

    fn start_as(program: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let given = |name: &str| {
            let at = options.iter().position(|option| *option == name)?;
            options.get(at + 1)?.parse::<u16>().ok()
        };
        let port = given("--tls-port").or_else(|| given("--port")).unwrap_or_else(free_port);
        let mut arguments = vec![program.to_owned()];
        if program == "redis-sentinel" {
            // Sentinel rewrites its own configuration file.
            let file = folder.path().join("sentinel.conf");
            std::fs::write(&file, options.join("\n")).expect("the folder is writable");
            arguments.push(file.display().to_string());
        }
        let folder_path = folder.path().display().to_string();
        let common = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir", &folder_path].map(str::to_owned);
        arguments.extend(common);
        if program == "redis-server" {
            arguments.extend(["--save", "", "--appendonly", "no"].map(str::to_owned));
            arguments.extend(options.iter().map(|option| (*option).to_owned()));
        }
        let server = Self { folder, port, arguments, running: Mutex::new(None), certificates: None };
        server.start_again();
        server
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The port that it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server (SIGKILL).
    pub fn stop(&self) {
        let running = self.running.lock().expect("not poisoned").take();
        if let Some(running) = running {
            running.end();
        }
    }

    /// Starts it again after [`stop`](Self::stop), on the same port and empty.
    pub fn start_again(&self) {
        let mut command = Command::new("sh");
        command.args(["-c", STOP_WITH_PARENT_SCRIPT, "sh"]).args(&self.arguments).current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut leash = command.spawn().expect("sh runs");
        let pid = first_line(leash.stdout.take().expect("it is piped"));
        *self.running.lock().expect("not poisoned") = Some(Running { leash, pid });
        wait_until_open(self.address());
    }

    /// Freezes it (SIGSTOP): connections stay open and it does not respond.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Runs a command with `redis-cli` and returns its output.
    pub fn command(&self, arguments: &[&str]) -> String {
        cli(self.port, arguments)
    }

    fn signal(&self, signal: &str) {
        let running = self.running.lock().expect("not poisoned");
        let pid = &running.as_ref().expect("it runs").pid;
        assert!(Command::new("kill").args([signal, pid]).status().expect("kill runs").success());
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    fn end(mut self) {
        let _ = Command::new("kill").args(["-9", &self.pid]).status();
        drop(self.leash.stdin.take());
        let _ = self.leash.wait();
    }
}

/// A primary, its replica, and a Sentinel that promotes the replica when the primary is gone.
pub struct PrivateSentinel {
    primary: PrivateRedis,
    replica: PrivateRedis,
    sentinel: PrivateRedis,
}

impl PrivateSentinel {
    /// Starts all three and waits until the Sentinel knows both servers.
    pub fn start() -> Self {
        let primary = PrivateRedis::start();
        let replica = PrivateRedis::start_with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
        let monitor = format!("sentinel monitor main 127.0.0.1 {} 1", primary.port);
        let sentinel = PrivateRedis::start_as(
            "redis-sentinel",
            &[&monitor, "sentinel down-after-milliseconds main 500", "sentinel failover-timeout main 3000"],
        );
        wait_for("the Sentinel knows the replica", || {
            sentinel.command(&["sentinel", "replicas", "main"]).contains(&replica.port.to_string())
        });
        wait_for("the replica follows", || replica.command(&["info", "replication"]).contains("master_link_status:up"));
        Self { primary, replica, sentinel }
    }

    /// The address for `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=main", self.sentinel.port)
    }

    /// Kills the primary and waits until the replica has taken its place.
    pub fn fail_over(&self) {
        self.primary.stop();
        wait_for("the replica is promoted", || self.replica.command(&["role"]).starts_with("master"));
    }
}

/// A cluster of six nodes, three of them primaries.
pub struct PrivateCluster {
    nodes: Vec<PrivateRedis>,
}

impl PrivateCluster {
    /// Starts the nodes and waits until every slot is served.
    pub fn start() -> Self {
        let start = || PrivateRedis::start_with(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
        let nodes: Vec<PrivateRedis> = (0..6).map(|_| start()).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
        create.args(["--cluster-replicas", "1", "--cluster-yes"]);
        let made = create.output().expect("redis-cli runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        wait_for("the cluster serves every slot", || {
            nodes.iter().all(|node| node.command(&["cluster", "info"]).contains("cluster_state:ok"))
        });
        Self { nodes }
    }

    /// The address of one node, which knows the others.
    pub fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.nodes[0].port)
    }

    /// The nodes of the cluster.
    pub fn nodes(&self) -> &[PrivateRedis] {
        &self.nodes
    }
}

fn cli(port: u16, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(arguments).output();
    let output = output.expect("redis-cli runs; hint: scripts/setup.sh installs what the tests need");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::yield_now();
    }
}

fn first_line(out: impl std::io::Read) -> String {
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("sh prints a process id");
    line.trim().to_owned()
}
