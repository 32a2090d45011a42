//! A private PostgreSQL in a temporary folder on a free loopback port. It stops after the last test that uses it.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::loopback::free_port;

const USER: &str = "portcullis";
const PASSWORD: &str = "only-for-tests";

/// Data must survive a stopped server, but not the machine: nothing is forced to the disk.
const SETTINGS: &str = "fsync=off\nfull_page_writes=off\nmax_connections=200\n\
    shared_buffers=32MB\nautovacuum=off\nlisten_addresses='127.0.0.1'\n";

/// Stops the server once no process holds the lock any more, however the last one ended. It waits a moment for the next test,
/// because each test may be a process of its own. A later test starts a new server.
const WATCHER: &str = r#"
    use Fcntl qw(:flock);
    my ($lock, $folder, @stop) = @ARGV;
    exit 0 if fork;
    setpgrp;
    open(my $used, "<", $lock) or exit 1;
    while (1) {
        flock($used, LOCK_EX);
        flock($used, LOCK_UN);
        select(undef, undef, undef, 1.5);
        last if flock($used, LOCK_EX | LOCK_NB);
    }
    system(@stop);
    system("rm", "-rf", $folder);
"#;

/// A PostgreSQL server for tests.
///
/// [`shared`](Self::shared) is one server for all tests of a run, which starts in about a second for the first of
/// them; each test makes a [`database`](Self::database) of its own in it. [`start`](Self::start) is a server that
/// a test may stop and start.
pub struct PrivatePostgres {
    folder: PathBuf,
    port: u16,
    /// Held until this value is dropped or the process ends; the watcher waits for it.
    _used: File,
}

static DATABASES: AtomicU32 = AtomicU32::new(0);

impl PrivatePostgres {
    /// The server that all tests of this user share.
    pub fn shared() -> Self {
        let name = format!("portcullis-test-postgres-{}", run("id", &["-u"]).trim());
        let home = std::env::temp_dir().join(name);
        make_folder(&home);
        // Only one test at a time checks whether the server runs, and starts it if not.
        let starting = lock_file(&home.join("start.lock"));
        starting.lock().expect("the lock can be waited for");
        let used = lock_file(&home.join("used.lock"));
        used.lock_shared().expect("the lock can be waited for");
        let folder = home.join("server");
        let port = running_in(&folder).unwrap_or_else(|| start_in(&folder, &home.join("used.lock")));
        Self { folder, port, _used: used }
    }

    /// Starts a server for one test alone.
    pub fn start() -> Self {
        let home = tempfile::Builder::new().prefix("portcullis-postgres-").tempdir().expect("a folder can be made");
        // The watcher removes the folder.
        let home = home.keep();
        open_to_all(&home);
        let lock = home.join("used.lock");
        let used = lock_file(&lock);
        used.lock_shared().expect("nobody else knows this lock");
        let folder = home.join("server");
        let port = start_in(&folder, &lock);
        Self { folder, port, _used: used }
    }

    /// Starts a server for one test alone that accepts TLS too, as `127.0.0.1`. Returns also the file of its certificate
    /// authority.
    pub fn start_with_tls() -> (Self, PathBuf) {
        let server = Self::start();
        let certified =
            rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate is made");
        let file = |name: &str, text: String| {
            let path = server.folder.join("data").join(name);
            std::fs::write(&path, text).expect("the folder is writable");
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
            give_to_server(&path);
        };
        file("server.crt", certified.cert.pem());
        file("server.key", certified.signing_key.serialize_pem());
        let authority = server.folder.parent().expect("the server has a home").join("authority.pem");
        std::fs::write(&authority, certified.cert.pem()).expect("the folder is writable");
        server.run_sql("ALTER SYSTEM SET ssl = on");
        server.stop();
        server.start_again();
        (server, authority)
    }

    /// Creates an empty database and returns its address.
    pub fn database(&self) -> String {
        let count = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{count}", std::process::id());
        let socket = self.folder.display().to_string();
        let port = self.port.to_string();
        run_tool("createdb", &["-h", &socket, "-p", &port, "-U", USER, &name]);
        self.url(&name)
    }

    /// The address of a database with this name, whether it exists or not.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port that it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes every connection and stops the server at once, as a crash would.
    pub fn stop(&self) {
        pg_ctl(&self.folder, &["stop", "-m", "immediate", "-w"]);
    }

    /// Starts the server again after [`stop`](Self::stop), on the same port with the same data.
    pub fn start_again(&self) {
        start_server(&self.folder);
    }

    /// Freezes its processes (SIGSTOP): connections stay open and it does not respond.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets frozen processes go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Starts a standby with streaming replication. From then on this server acknowledges a commit only once the standby has
    /// it, so that a fail-over loses nothing.
    pub fn standby(&self) -> Self {
        let home = tempfile::Builder::new().prefix("portcullis-postgres-").tempdir().expect("a folder can be made");
        let home = home.keep();
        open_to_all(&home);
        let lock = home.join("used.lock");
        let used = lock_file(&lock);
        used.lock_shared().expect("nobody else knows this lock");
        let folder = home.join("server");
        std::fs::create_dir(&folder).expect("the folder can be made");
        give_to_server(&folder);
        let data = folder.join("data");
        let mut copy = as_server(tool("pg_basebackup"));
        copy.arg("-D").arg(&data).args(["-U", USER, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-h"]);
        copy.arg(&self.folder).args(["-p", &self.port.to_string()]);
        succeed(copy);
        let port = free_port();
        let configuration = data.join("postgresql.auto.conf");
        // Later lines override those of the copied server.
        let mut settings = std::fs::read_to_string(&configuration).expect("the copy has settings");
        settings.push_str(&format!("port={port}\nunix_socket_directories='{}'\n", folder.display()));
        std::fs::write(&configuration, settings).expect("the folder is writable");
        give_to_server(&configuration);
        start_server(&folder);
        watch(&folder, &lock);
        self.run_sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.run_sql("SELECT pg_reload_conf()");
        Self { folder, port, _used: used }
    }

    /// Promotes a standby to primary.
    pub fn promote(&self) {
        pg_ctl(&self.folder, &["promote", "-w"]);
    }

    /// Runs a statement as the superuser, in the database `postgres`.
    pub fn run_sql(&self, statement: &str) -> String {
        self.run_sql_in("postgres", statement)
    }

    /// Runs a statement as the superuser.
    pub fn run_sql_in(&self, database: &str, statement: &str) -> String {
        let socket = self.folder.display().to_string();
        let mut psql = Command::new(tool("psql"));
        psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", &socket, "-p", &self.port.to_string()]);
        psql.args(["-U", USER, "-d", database, "-c", statement]);
        String::from_utf8(succeed(psql).stdout).expect("psql prints text").trim().to_owned()
    }

    /// Sends a signal to every process of the server.
    fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("the server runs");
        let pid = pid.lines().next().expect("its first line is the process id").to_owned();
        // The parent is stopped first and continued last, so that it misses no child.
        let parent = || run("kill", &[&format!("-{name}"), &pid]);
        let children = || {
            let _ = Command::new("pkill").args([&format!("-{name}"), "-P", &pid]).status();
        };
        if name == "STOP" {
            parent();
            children();
        } else {
            children();
            parent();
        }
    }
}

/// A database as SQL.
pub(crate) fn dump(url: &str) -> Vec<u8> {
    let mut command = Command::new(tool("pg_dump"));
    command.arg("--dbname").arg(url);
    succeed(command).stdout
}

/// The port of the server in `folder`, if one runs there: a machine that went down leaves the files of one that does not.
fn running_in(folder: &Path) -> Option<u16> {
    let port = std::fs::read_to_string(folder.join("port")).ok()?;
    UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).ok()?;
    Some(port.parse().expect("the port was written by start_in"))
}

/// Makes a cluster in `folder`, starts it, and sets a watcher on it.
fn start_in(folder: &Path, lock: &Path) -> u16 {
    // A run that was cut off while starting leaves a half-made cluster, and perhaps its server.
    if folder.exists() {
        let _ = as_server(tool("pg_ctl")).args(["stop", "-m", "immediate", "-D"]).arg(folder.join("data")).output();
        std::fs::remove_dir_all(folder).expect("the remains can be removed");
    }
    std::fs::create_dir(folder).expect("the folder can be made");
    give_to_server(folder);
    let password = folder.join("password");
    std::fs::write(&password, PASSWORD).expect("the folder is writable");
    give_to_server(&password);
    let data = folder.join("data");
    let mut initdb = as_server(tool("initdb"));
    initdb.arg("-D").arg(&data).args(["-U", USER, "--encoding=UTF8", "--locale=C", "--no-sync"]);
    initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256"]).arg("--pwfile").arg(&password);
    succeed(initdb);

    let port = free_port();
    let settings = format!("{SETTINGS}port={port}\nunix_socket_directories='{}'\n", folder.display());
    let configuration = data.join("postgresql.auto.conf");
    std::fs::write(&configuration, settings).expect("the folder is writable");
    give_to_server(&configuration);
    start_server(folder);
    watch(folder, lock);
    // The file is written last: it shows that the server runs and is watched.
    std::fs::write(folder.join("port"), port.to_string()).expect("the folder is writable");
    port
}

fn start_server(folder: &Path) {
    let log = folder.join("log").display().to_string();
    pg_ctl(folder, &["start", "-w", "-t", "60", "-l", &log]);
}

/// Starts the process that stops the server after its last use.
fn watch(folder: &Path, lock: &Path) {
    let mut stop = as_server(tool("pg_ctl"));
    stop.args(["stop", "-m", "immediate", "-w", "-D"]).arg(folder.join("data"));
    let home = folder.parent().expect("the server's folder stands in the home folder");
    // The shared server's home holds the locks, which others may wait for; a lone one's goes as a whole.
    let goes = if home.join("start.lock").exists() { folder } else { home };
    let mut watcher = Command::new("perl");
    watcher.args(["-e", WATCHER]).arg(lock).arg(goes).arg(stop.get_program()).args(stop.get_args());
    watcher.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // It goes on in the background, in a group of its own: a Ctrl-C meant for the tests must not end it before them.
    let status = watcher.status().expect("perl is installed");
    assert!(status.success(), "the watcher did not start");
}

fn pg_ctl(folder: &Path, arguments: &[&str]) {
    let mut command = as_server(tool("pg_ctl"));
    // A server that inherited a pipe would keep the reader of the tests' output waiting for its end.
    command.arg("-D").arg(folder.join("data")).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().expect("pg_ctl runs");
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert!(status.success(), "pg_ctl {arguments:?} failed; the server's log:\n{log}");
}

/// A command as the user who owns the server: PostgreSQL refuses to run as root.
fn as_server(program: PathBuf) -> Command {
    if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command.current_dir("/");
        command
    } else {
        Command::new(program)
    }
}

fn give_to_server(path: &Path) {
    if is_root() {
        let id = |flag| run("id", &[flag, "postgres"]).trim().parse::<u32>().expect("id prints a number");
        std::os::unix::fs::chown(path, Some(id("-u")), Some(id("-g"))).expect("root may give files away");
    }
}

fn is_root() -> bool {
    run("id", &["-u"]).trim() == "0"
}

fn make_folder(home: &Path) {
    match std::fs::create_dir(home) {
        Ok(()) => open_to_all(home),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => panic!("{} cannot be made: {error}", home.display()),
    }
}

/// Lets the server's user pass through to its own folder.
fn open_to_all(folder: &Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(folder, mode).expect("the owner may set the mode");
}

fn lock_file(path: &Path) -> File {
    File::options().create(true).truncate(false).read(true).write(true).open(path).expect("a lock file can be made")
}

/// Where a PostgreSQL program is: the newest of Debian's versions, else on the PATH.
fn tool(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| Path::new(&format!("/usr/lib/postgresql/{version}/bin/{name}")).exists())
        .max();
    newest.map_or_else(|| name.into(), |version| format!("/usr/lib/postgresql/{version}/bin/{name}").into())
}

fn run_tool(name: &str, arguments: &[&str]) {
    let mut command = Command::new(tool(name));
    command.args(arguments);
    succeed(command);
}

fn run(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    String::from_utf8(succeed(command).stdout).expect("the program prints text")
}

fn succeed(mut command: Command) -> Output {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{:?} does not run: {error}. hint: scripts/setup.sh installs what the tests need", command.get_program())
    });
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?} failed: {message}", command.get_program());
    output
}
