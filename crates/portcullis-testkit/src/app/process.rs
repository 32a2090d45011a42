//! Starting `portcullis serve` and reading what it prints.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::loopback::START_LIMIT;

/// How long the program may take to print a line that a test waits for.
const LINE_LIMIT: Duration = Duration::from_secs(60);

/// The command line of a server: everything that stays the same over restarts.
pub(super) struct Launch {
    pub(super) binary: PathBuf,
    pub(super) environment: Vec<(String, String)>,
    /// A listening socket that is handed over, as `sd_listen_fds(3)` describes.
    pub(super) socket: Option<TcpListener>,
    pub(super) stderr: Stderr,
}

/// Where the program's standard error goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stderr {
    /// Every line is kept for [`super::TestApp::log_line_with`] and shown when the test fails.
    Captured,
    /// The descriptor is closed (`2>&-`).
    Closed,
    /// A pipe that stays open and that nobody reads.
    Unread,
    /// A pipe whose reader has gone.
    Broken,
}

pub(super) struct Running {
    pub(super) process: Child,
    pub(super) address: SocketAddr,
    /// Standard output up to the line `ready`.
    pub(super) announcement: String,
    /// Standard output after that line.
    pub(super) output: Lines,
    /// Standard error, if it is captured.
    pub(super) log: Lines,
    /// Keeps an unread pipe open.
    pub(super) unread: Option<ChildStderr>,
}

/// Lines that a process prints, in their order.
pub(super) struct Lines {
    name: &'static str,
    received: Mutex<Receiver<String>>,
}

impl Lines {
    /// Reads lines until the stream ends, and shows each one to `show` first.
    fn of(name: &'static str, stream: impl Read + Send + 'static, show: fn(&str)) -> Self {
        let (send, received) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                show(&line);
                let _ = send.send(line);
            }
        });
        Self { name, received: Mutex::new(received) }
    }

    fn none(name: &'static str) -> Self {
        Self { name, received: Mutex::new(channel().1) }
    }

    /// Waits for the next line that contains `part`. Lines before it are passed over.
    pub(super) fn next_with(&self, part: &str) -> String {
        self.until(part).pop().expect("the last line has the part")
    }

    /// Waits for the next line that contains `part`. Returns it after the lines before it.
    pub(super) fn until(&self, part: &str) -> Vec<String> {
        let begun = Instant::now();
        let mut lines = Vec::new();
        loop {
            match self.next(LINE_LIMIT.saturating_sub(begun.elapsed())) {
                Some(line) => {
                    lines.push(line);
                    if lines.last().is_some_and(|line| line.contains(part)) {
                        return lines;
                    }
                }
                None => panic!("portcullis serve printed no line with {part:?} on {}", self.name),
            }
        }
    }

    fn next(&self, limit: Duration) -> Option<String> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(limit).ok()
    }
}

impl Launch {
    /// A command of the binary in this folder and environment.
    pub(super) fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        self.in_environment(&self.binary, folder, arguments)
    }

    /// Starts the server and waits for its line `ready`.
    pub(super) fn start(&self, folder: &Path) -> Running {
        let mut serve = self.serve(folder);
        let mut process = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary was built");
        let output = Lines::of("standard output", process.stdout.take().expect("stdout was piped"), |_| {});
        let stderr = process.stderr.take().expect("stderr was piped");
        let (log, unread) = match self.stderr {
            // The test runner shows these lines when the test fails.
            Stderr::Captured => (Lines::of("standard error", stderr, |line| eprintln!("{line}")), None),
            Stderr::Unread => (Lines::none("standard error"), Some(stderr)),
            // Dropping the pipe's end makes it a broken one.
            Stderr::Closed | Stderr::Broken => (Lines::none("standard error"), None),
        };
        let mut announcement = String::new();
        let mut address = None;
        let begun = Instant::now();
        while let Some(line) = output.next(START_LIMIT.saturating_sub(begun.elapsed())) {
            announcement.push_str(&line);
            announcement.push('\n');
            if let Some(rest) = line.split("http://").nth(1)
                && line.contains("listening")
            {
                address = rest.split_whitespace().next().and_then(|text| text.trim_end_matches('/').parse().ok());
            }
            if line.starts_with("ready") {
                let address = address.expect("the address is announced before the line `ready`");
                return Running { process, address, announcement, output, log, unread };
            }
        }
        let _ = process.kill();
        let _ = process.wait();
        panic!("portcullis serve did not start:\n{announcement}\n(its log is above)");
    }

    /// `portcullis serve`, through a shell where a descriptor has to be handed over or closed.
    fn serve(&self, folder: &Path) -> Command {
        let closing = if self.stderr == Stderr::Closed { " 2>&-" } else { "" };
        let Some(socket) = &self.socket else {
            let mut serve = if closing.is_empty() {
                self.command(folder, &["serve"])
            } else {
                self.shell(folder, &format!("exec \"$0\" serve{closing}"))
            };
            serve.stdin(Stdio::null());
            return serve;
        };
        let script = format!("LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve 3<&0 0</dev/null{closing}");
        let mut serve = self.shell(folder, &script);
        serve.stdin(OwnedFd::from(socket.try_clone().expect("a socket can be duplicated")));
        serve
    }

    fn shell(&self, folder: &Path, script: &str) -> Command {
        let mut shell = self.in_environment(Path::new("/bin/sh"), folder, &["-c", script]);
        shell.arg(&self.binary);
        shell
    }

    fn in_environment(&self, program: &Path, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // Coverage and the dynamic loader need these; Portcullis does not read them.
        for name in ["PATH", "HOME", "LLVM_PROFILE_FILE", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }
}
