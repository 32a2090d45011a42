//! The real binary over real sockets, in a folder of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::database_of;

/// How long a server may take to say where it listens, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How to start a [`TestApp`].
pub struct TestAppBuilder {
    binary: PathBuf,
    folder: TempDir,
    environment: Vec<(String, String)>,
    held: Option<TcpListener>,
}

/// A running `portcullis serve` with a private data folder on a free loopback port.
/// Dropping it kills the process.
pub struct TestApp {
    binary: PathBuf,
    folder: TempDir,
    environment: Vec<(String, String)>,
    held: Option<TcpListener>,
    process: Child,
    address: SocketAddr,
    said: String,
    /// What it prints after that.
    lines: Mutex<mpsc::Receiver<String>>,
}

/// How long a server may take to print what a test waits for.
const LINE_LIMIT: Duration = Duration::from_secs(30);

impl TestAppBuilder {
    /// On a database of its own, of the engine that this run uses. For the binary at `binary`: `env!("CARGO_BIN_EXE_portcullis")` in its integration tests.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut environment = vec![("PORT".to_owned(), "0".to_owned()), ("LOG_LEVEL".to_owned(), "warn".to_owned())];
        environment.extend(database_of(folder.path()).map(|url| ("DATABASE_URL".to_owned(), url)));
        Self { binary: binary.into(), folder, environment, held: None }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// On SQLite in the data folder, whatever engine this run uses: for what only SQLite promises.
    pub fn on_sqlite(mut self) -> Self {
        self.environment.retain(|(known, _)| known != "DATABASE_URL");
        self
    }

    /// Listening on a socket that this process holds, as a supervisor would, while the server's own process comes and goes.
    pub fn on_held_socket(mut self) -> Self {
        self.held = Some(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports"));
        self
    }

    /// Writes `portcullis.toml`.
    pub fn settings(self, text: &str) -> Self {
        std::fs::write(self.folder.path().join("portcullis.toml"), text).expect("the temporary folder is writable");
        self
    }

    /// The folder the server will run in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command of the binary in this folder and environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        command(&self.binary, self.folder.path(), &self.environment, arguments)
    }

    /// Starts it and waits until it says where it listens.
    pub fn start(self) -> TestApp {
        let Self { binary, folder, environment, held } = self;
        let (process, address, said, lines) = spawn(serving(&binary, folder.path(), &environment, held.as_ref()));
        TestApp { binary, folder, environment, held, process, address, said, lines: Mutex::new(lines) }
    }
}

impl TestApp {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it printed until it listened.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Waits for the next line on standard output that contains `part`; lines before it are passed over.
    pub fn line_with(&self, part: &str) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = Instant::now();
        loop {
            let left = LINE_LIMIT.saturating_sub(begin.elapsed());
            match lines.recv_timeout(left) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(_) => panic!("portcullis serve printed no line with {part:?}"),
            }
        }
    }

    /// The folder it runs in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Runs another command of the binary in the same folder and environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        command(&self.binary, self.folder.path(), &self.environment, arguments)
    }

    /// Runs a command beside it to its good end, and gives what it printed.
    pub fn run(&self, arguments: &[&str], input: &str) -> String {
        use std::io::Write as _;
        let mut command = self.command(arguments);
        let mut running = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built by this test run");
        // A command that reads nothing may be gone already.
        let _ = running.stdin.take().expect("stdin was piped").write_all(input.as_bytes());
        let output = running.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// `kill -9`, then a new start on the same data.
    pub fn crash_and_restart(&mut self) {
        self.process.kill().expect("the process is ours");
        self.process.wait().expect("the process is ours");
        self.restart();
    }

    /// A polite stop (SIGTERM), then a new start on the same data.
    pub fn stop_and_restart(&mut self) {
        self.stop();
        self.restart();
    }

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        let status = Command::new("kill").arg(self.pid().to_string()).status().expect("kill runs");
        assert!(status.success());
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) {
        self.ask_to_stop();
        self.process.wait().expect("the process is ours");
    }

    /// A new start after [`stop`](Self::stop), on the same data.
    pub fn start_again(&mut self) {
        self.restart();
    }

    /// The resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel reports VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("VmRSS is a number of kB");
        kib * 1024
    }

    fn restart(&mut self) {
        let serving = serving(&self.binary, self.folder.path(), &self.environment, self.held.as_ref());
        let (process, address, said, lines) = spawn(serving);
        self.process = process;
        self.address = address;
        self.said = said;
        self.lines = Mutex::new(lines);
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The body of a registration whose names are derived from `name`.
pub fn person(name: &str) -> Value {
    json!({
        "email": format!("{name}@example.com"),
        "username": name,
        "firstName": "Ada",
        "lastName": "Lovelace",
        "password": PASSWORD,
        "confirmPassword": PASSWORD,
    })
}

/// The password of every [`person`].
pub const PASSWORD: &str = "correct horse battery staple";

/// A loopback port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// Waits until something accepts connections.
pub fn wait_until_open(address: SocketAddr) {
    let begin = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begin.elapsed() < START_LIMIT, "nothing listens on {address}");
        std::thread::yield_now();
    }
}

fn command(binary: &Path, folder: &Path, environment: &[(String, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments).current_dir(folder).env_clear().envs(environment.iter().map(|(k, v)| (k, v)));
    // What coverage and the dynamic loader need; nothing that Portcullis reads.
    for name in ["PATH", "HOME", "LLVM_PROFILE_FILE", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// `portcullis serve`, perhaps on a socket that is handed over as `sd_listen_fds(3)` has it.
fn serving(binary: &Path, folder: &Path, environment: &[(String, String)], held: Option<&TcpListener>) -> Command {
    let Some(held) = held else {
        let mut serving = command(binary, folder, environment, &["serve"]);
        serving.stdin(Stdio::null());
        return serving;
    };
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve 3<&0 0</dev/null";
    let mut shell = command(Path::new("/bin/sh"), folder, environment, &["-c", script]);
    shell.arg(binary).stdin(OwnedFd::from(held.try_clone().expect("it can be held twice")));
    shell
}

fn spawn(mut serving: Command) -> (Child, SocketAddr, String, mpsc::Receiver<String>) {
    let mut process =
        serving.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary was built by this test run");
    let stdout = process.stdout.take().expect("stdout was piped");
    let mut stderr = process.stderr.take().expect("stderr was piped");
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            let _ = send.send(line);
        }
    });
    let (send_errors, errors) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut chunk = [0u8; 4096];
        while let Ok(read @ 1..) = stderr.read(&mut chunk) {
            text.extend_from_slice(&chunk[..read]);
            // Shown by the test runner when the test fails.
            eprint!("{}", String::from_utf8_lossy(&chunk[..read]));
        }
        let _ = send_errors.send(String::from_utf8_lossy(&text).into_owned());
    });
    let mut said = String::new();
    let begin = Instant::now();
    let mut address = None;
    loop {
        let left = START_LIMIT.saturating_sub(begin.elapsed());
        match lines.recv_timeout(left) {
            Ok(line) => {
                said.push_str(&line);
                said.push('\n');
                if let Some(rest) = line.split("http://").nth(1)
                    && line.contains("listening")
                {
                    address = rest.split_whitespace().next().and_then(|text| text.trim_end_matches('/').parse().ok());
                }
                // The line after which nothing more is said about the start.
                if line.starts_with("ready") {
                    let address = address.expect("it says where it listens before it is ready");
                    return (process, address, said, lines);
                }
            }
            Err(_) => {
                let _ = process.kill();
                let _ = process.wait();
                let errors = errors.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
                panic!("portcullis serve did not start:\n{said}\n{errors}");
            }
        }
    }
}
