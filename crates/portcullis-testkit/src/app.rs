//! The real program over real sockets, in a folder of its own.

mod process;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::database_of;
use process::{Launch, Running, Stderr};

/// How to start a [`TestApp`].
pub struct TestAppBuilder {
    folder: TempDir,
    launch: Launch,
}

/// A running `portcullis serve` with a private data folder on a free loopback port.
/// Dropping it kills the process.
pub struct TestApp {
    folder: TempDir,
    launch: Launch,
    running: Running,
}

impl TestAppBuilder {
    /// A server of the program at `binary` (`env!("CARGO_BIN_EXE_portcullis")` in its integration tests), with a new
    /// database of the engine that this test run uses.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut environment = vec![("PORT".to_owned(), "0".to_owned()), ("LOG_LEVEL".to_owned(), "warn".to_owned())];
        // Tests of the access log turn it on.
        environment.push(("PORTCULLIS__LOG__ACCESS".to_owned(), "off".to_owned()));
        environment.extend(database_of(folder.path()).map(|url| ("DATABASE_URL".to_owned(), url)));
        let launch = Launch { binary: binary.into(), environment, socket: None, stderr: Stderr::Captured };
        Self { folder, launch }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.launch.environment.retain(|(known, _)| known != name);
        self.launch.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Leaves an environment variable out that the builder sets by itself.
    pub fn without_env(mut self, name: &str) -> Self {
        self.launch.environment.retain(|(known, _)| known != name);
        self
    }

    /// Uses SQLite in the data folder whatever engine this test run uses, for behaviour that only SQLite has.
    pub fn on_sqlite(mut self) -> Self {
        self.launch.environment.retain(|(known, _)| known != "DATABASE_URL");
        self
    }

    /// Hands over a listening socket that stays open while the server restarts, as a supervisor would.
    pub fn on_held_socket(mut self) -> Self {
        self.launch.socket = Some(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports"));
        self
    }

    /// Closes the server's standard error (`2>&-`).
    pub fn with_closed_stderr(mut self) -> Self {
        self.launch.stderr = Stderr::Closed;
        self
    }

    /// Makes standard error a pipe that nobody reads, so that it fills up.
    pub fn with_unread_stderr(mut self) -> Self {
        self.launch.stderr = Stderr::Unread;
        self
    }

    /// Makes standard error a pipe whose reader has gone, so that each write fails.
    pub fn with_broken_stderr(mut self) -> Self {
        self.launch.stderr = Stderr::Broken;
        self
    }

    /// Writes `portcullis.toml` into the server's folder.
    pub fn settings(self, text: &str) -> Self {
        std::fs::write(self.folder.path().join("portcullis.toml"), text).expect("the temporary folder is writable");
        self
    }

    /// The folder that the server will run in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command of the binary in this folder and environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.launch.command(self.folder.path(), arguments)
    }

    /// Starts the server and waits until it is ready.
    pub fn start(self) -> TestApp {
        let Self { folder, launch } = self;
        let running = launch.start(folder.path());
        TestApp { folder, launch, running }
    }
}

impl TestApp {
    /// The address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.address)
    }

    /// What the server printed on standard output until it was ready.
    pub fn startup_output(&self) -> &str {
        &self.running.announcement
    }

    /// Waits for the next line on standard output that contains `part`. Lines before it are passed over.
    pub fn line_with(&self, part: &str) -> String {
        self.running.output.next_with(part)
    }

    /// Waits for the next line of the log (standard error) that contains `part`. Lines before it are passed over.
    pub fn log_line_with(&self, part: &str) -> String {
        self.running.log.next_with(part)
    }

    /// Waits for the next line of the log that contains `part`, and returns it and the lines before it.
    pub fn log_lines_until(&self, part: &str) -> Vec<String> {
        self.running.log.until(part)
    }

    /// The pipe of standard error of a server that was started [with unread standard error](TestAppBuilder::with_unread_stderr).
    /// If it is dropped, the pipe is broken.
    pub fn take_unread_stderr(&mut self) -> ChildStderr {
        self.running.unread.take().expect("the server was started with unread standard error")
    }

    /// The folder that the server runs in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The id of the server's process.
    pub fn pid(&self) -> u32 {
        self.running.process.id()
    }

    /// Runs another command of the binary in the same folder and environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.launch.command(self.folder.path(), arguments)
    }

    /// Runs a command beside the server, asserts that it succeeds, and returns its standard output.
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
        let ended = running.wait_with_output().expect("it ends");
        let output = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{arguments:?}: {output}{}", String::from_utf8_lossy(&ended.stderr));
        output
    }

    /// Kills the server (`kill -9`) and starts it again on the same data.
    pub fn crash_and_restart(&mut self) {
        self.running.process.kill().expect("the process is ours");
        self.running.process.wait().expect("the process is ours");
        self.restart();
    }

    /// Stops the server (SIGTERM) and starts it again on the same data.
    pub fn stop_and_restart(&mut self) {
        self.stop();
        self.restart();
    }

    /// Sends SIGTERM and does not wait.
    pub fn terminate(&self) {
        let status = Command::new("kill").arg(self.pid().to_string()).status().expect("kill runs");
        assert!(status.success());
    }

    /// Sends SIGTERM and waits until the process has ended.
    pub fn stop(&mut self) {
        self.terminate();
        self.running.process.wait().expect("the process is ours");
    }

    /// Starts the server again after [`stop`](Self::stop), on the same data.
    pub fn start_again(&mut self) {
        self.restart();
    }

    /// The resident memory of the server's process, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel reports VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("VmRSS is a number of kB");
        kib * 1024
    }

    fn restart(&mut self) {
        self.running = self.launch.start(self.folder.path());
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let _ = self.running.process.kill();
        let _ = self.running.process.wait();
    }
}

/// The body of a registration whose names are derived from `name`.
pub fn registration(name: &str) -> Value {
    json!({
        "email": format!("{name}@example.com"),
        "username": name,
        "firstName": "Ada",
        "lastName": "Lovelace",
        "password": PASSWORD,
        "confirmPassword": PASSWORD,
    })
}

/// The password of every [`registration`].
pub const PASSWORD: &str = "correct horse battery staple";
