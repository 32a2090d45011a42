//! The limit of open files of the process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portcullis_testkit::{free_port, wait_until_open};

use crate::client::app;

/// A gateway that may open only so many files.
struct Limited {
    process: Child,
    address: SocketAddr,
    _folder: portcullis_testkit::TestAppBuilder,
}

impl Limited {
    fn start(files: u32) -> Self {
        let port = free_port();
        let folder = app().env("PORT", port.to_string());
        let gateway = folder.command(&["serve"]);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$@\""), "sh"]).arg(gateway.get_program());
        command.args(gateway.get_args()).stderr(Stdio::piped()).stdout(Stdio::null()).stdin(Stdio::null());
        command.env_clear().envs(gateway.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(gateway.get_current_dir().expect("a folder of its own"));
        let process = command.spawn().expect("a shell");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until_open(address);
        Self { process, address, _folder: folder }
    }

    /// Ends the gateway and returns its log.
    fn log(mut self) -> String {
        self.process.kill().expect("the process is ours");
        let mut log = String::new();
        self.process.stderr.take().expect("a pipe").read_to_string(&mut log).expect("text");
        log
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn request(stream: &mut TcpStream) -> Option<u16> {
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    stream.write_all(b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

#[test]
fn sr_55_no_client_is_accepted_without_a_file_for_it() {
    let gateway = Limited::start(300);
    let connect = || TcpStream::connect(gateway.address).expect("the kernel accepts connections");
    let mut open: Vec<TcpStream> = (0..400).map(|_| connect()).collect();
    assert_eq!(request(&mut open[0]), Some(200), "a connection that was accepted is served");
    // Those that wait are served as soon as others close.
    open.drain(..390);
    for stream in &mut open {
        assert_eq!(request(stream), Some(200));
    }
    let log = gateway.log();
    assert!(log.contains("the limit of open files is too low for the settings by "), "{log}");
    assert!(!log.contains("cannot be accepted"), "{log}");
}

#[test]
fn a_limit_of_files_that_is_enough_is_not_mentioned() {
    let gateway = Limited::start(20_000);
    assert_eq!(request(&mut TcpStream::connect(gateway.address).expect("it listens")), Some(200));
    let log = gateway.log();
    assert!(!log.contains("open files"), "{log}");
}
