//! A private PgBouncer in front of a private PostgreSQL, on a free loopback port. It stops when dropped.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::loopback::free_port;

/// Longest wait for it to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A PgBouncer that leads to every database of one server, over at most three connections to each.
pub struct PgBouncer {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl PgBouncer {
    /// Starts one in a mode: `session`, `transaction` or `statement`.
    pub fn start(server_port: u16, mode: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-pgbouncer-").tempdir().expect("a folder can be made");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let port = free_port();
        std::fs::write(file("users.txt"), "\"portcullis\" \"only-for-tests\"\n").expect("the folder is writable");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={server_port}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {}\npool_mode = {mode}\n\
             default_pool_size = 3\nmax_client_conn = 200\nlogfile = {}\n",
            file("users.txt"),
            file("log")
        );
        std::fs::write(file("pgbouncer.ini"), settings).expect("the folder is writable");
        give_away(folder.path());
        // It refuses to run as root.
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--", program()]);
            command
        } else {
            Command::new(program())
        };
        command.arg(file("pgbouncer.ini")).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("pgbouncer is installed (scripts/setup.sh)");
        let bouncer = Self { process, port, folder };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = std::fs::read_to_string(bouncer.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < START_LIMIT, "pgbouncer does not listen: {log}");
            std::thread::yield_now();
        }
        bouncer
    }

    /// Returns the port that it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a statement through it as another program would.
    pub fn run_sql(&self, address: &str, statement: &str) -> String {
        let output =
            Command::new("psql").args(["-X", "-A", "-t", "-c", statement, address]).output().expect("psql runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("psql prints text").trim().to_owned()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // runuser may stand between this process and the server.
        let _ = Command::new("pkill").args(["-P", &self.process.id().to_string()]).status();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> &'static str {
    if Path::new("/usr/sbin/pgbouncer").exists() { "/usr/sbin/pgbouncer" } else { "pgbouncer" }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id runs");
    output.stdout.trim_ascii() == b"0"
}

/// Gives the folder and its files to the user whom the server runs as.
fn give_away(folder: &Path) {
    if is_root() {
        let status = Command::new("chown").args(["-R", "postgres"]).arg(folder).status().expect("chown runs");
        assert!(status.success());
    }
}
