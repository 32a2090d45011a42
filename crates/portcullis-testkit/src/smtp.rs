//! A private mail server (aiosmtpd) that accepts, defers or refuses mails as a test wants.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

/// A mail server. It stops when it is dropped.
pub struct PrivateSmtp {
    process: Child,
    folder: TempDir,
    ports: Vec<u16>,
}

impl PrivateSmtp {
    /// Starts a server without TLS.
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"))
    }

    /// Starts a server with STARTTLS on one port and TLS on another, with a self-signed certificate.
    pub fn start_with_tls() -> Self {
        Self::start_with_certificate(|_| {})
    }

    /// Starts the same with a certificate that ended in 2020.
    pub fn start_with_expired_certificate() -> Self {
        Self::start_with_certificate(|parameters| {
            parameters.not_before = rcgen::date_time_ymd(2019, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
        })
    }

    fn start_with_certificate(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address is a name");
        change(&mut parameters);
        let key = KeyPair::generate().expect("a key is made");
        let certificate = parameters.self_signed(&key).expect("a certificate is made");
        for (name, text) in [("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())] {
            std::fs::write(folder.path().join(name), text).expect("the folder is writable");
        }
        Self::start_in(folder)
    }

    /// The file with its certificate, which is its own authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn start_in(folder: TempDir) -> Self {
        let script = folder.path().join("smtp.py");
        std::fs::write(&script, include_str!("smtp.py")).expect("the folder is writable");
        // Debian's own interpreter has Debian's packages.
        let python = if std::path::Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" };
        let mut process = Command::new(python)
            .arg(&script)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there; scripts/setup.sh installs it");
        let mut line = String::new();
        let out = process.stdout.take().expect("it was piped");
        BufReader::new(out).read_line(&mut line).expect("it speaks");
        let ports: Vec<u16> = line.split_whitespace().filter_map(|port| port.parse().ok()).collect();
        assert!(!ports.is_empty(), "no mail server: is python3-aiosmtpd installed? scripts/setup.sh does");
        Self { process, folder, ports }
    }

    /// The port for `smtp://` and `smtp+starttls://`.
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// The port for `smtps://`.
    pub fn tls_port(&self) -> u16 {
        self.ports[1]
    }

    /// Sets what it does with further mails: `take`, `busy`, `reject`, `die` or `sleep`.
    pub fn set_behaviour(&self, behaviour: &str) {
        let (file, new) = (self.folder.path().join("behaviour"), self.folder.path().join("behaviour.new"));
        std::fs::write(&new, behaviour).and_then(|()| std::fs::rename(new, file)).expect("the folder is writable");
    }

    /// The mails that arrived, in their order.
    pub fn mails(&self) -> Vec<String> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.folder.path())
            .expect("the folder is there")
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("mail-") && !name.ends_with(".new")
            })
            .collect();
        files.sort();
        files.iter().map(|file| String::from_utf8_lossy(&std::fs::read(file).expect("readable")).into_owned()).collect()
    }

    /// Waits until this many mails have arrived.
    pub fn wait_for(&self, count: usize) -> Vec<String> {
        // A killed process holds a claim on its mail for a while; this is longer.
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let mails = self.mails();
            if mails.len() >= count {
                return mails;
            }
            assert!(Instant::now() < deadline, "{} of {count} mails arrived", mails.len());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for PrivateSmtp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
