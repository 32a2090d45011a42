//! `portcullis healthcheck`: a readiness check for containers and scripts that have no curl.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;
use portcullis_settings::{Settings, reachable};
use serde_json::json;

use super::output::{Failure, print, print_json};
use super::{Format, Listen};

/// How long the gateway may take to respond.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) listen: Listen,
    #[command(flatten)]
    pub(super) format: Format,
}

pub(super) fn run(settings: &Settings, format: Format) -> Result<(), Failure> {
    let address = reachable(settings.server.listen);
    if address.port() == 0 {
        return Err(Failure::new("the port is 0, so the gateway takes a free port that this command does not know")
            .hint("name the port of the gateway with PORT or --port"));
    }
    let response = request_status(address, proxy_header(settings));
    let status = response.as_ref().ok().copied();
    if format.json {
        print_json(&json!({ "ready": status == Some(200), "status": status, "address": address.to_string() }));
    }
    match response {
        Ok(200) => {
            if !format.json {
                print(&format!("The gateway at http://{address} is ready.\n"));
            }
            Ok(())
        }
        Ok(status) => Err(Failure::new(format!("the gateway at http://{address} is not ready: it answered {status}"))
            .hint("it is starting, stopping, or cannot reach its database; see its log")),
        Err(error) => Err(Failure::new(format!("the gateway at http://{address} cannot be reached: {error}"))
            .hint("check that it runs and listens on this address; HOST, PORT, --host and --port name it")),
    }
}

/// What a connection to the gateway must begin with.
pub(crate) fn proxy_header(settings: &Settings) -> &'static [u8] {
    if settings.server.proxy_protocol { &portcullis_edge::LOCAL_HEADER } else { &[] }
}

/// Requests `/api/health/ready` and returns the status.
pub(crate) fn request_status(address: SocketAddr, proxy_header: &[u8]) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, RESPONSE_TIMEOUT)?;
    stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
    stream.set_write_timeout(Some(RESPONSE_TIMEOUT))?;
    // Sent in one write, because each write would be a packet of its own.
    let request = format!("GET /api/health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(&[proxy_header, request.as_bytes()].concat())?;
    // "HTTP/1.1 200" (RFC 9112 §4); the rest of the response is not needed.
    let mut start = [0u8; 12];
    stream.read_exact(&mut start)?;
    let text = std::str::from_utf8(&start).ok().and_then(|text| text.strip_prefix("HTTP/1."));
    let status = text.and_then(|text| text.get(2..)).and_then(|text| text.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the server there does not speak HTTP"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn status_of(response: &'static str) -> io::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0u8];
                stream.read_exact(&mut byte).expect("a whole request");
                request.extend(byte);
            }
            stream.write_all(response.as_bytes()).expect("the client reads");
            String::from_utf8_lossy(&request).into_owned()
        });
        let status = request_status(address, &[]);
        assert!(server.join().expect("no panic").starts_with("GET /api/health/ready HTTP/1.1\r\nHost: 127.0.0.1:"));
        status
    }

    #[test]
    fn the_status_line_is_read() {
        assert_eq!(status_of("HTTP/1.1 200 OK\r\n\r\n").expect("HTTP"), 200);
        assert_eq!(status_of("HTTP/1.1 503 Service Unavailable\r\n\r\n").expect("HTTP"), 503);
        assert!(status_of("SSH-2.0-OpenSSH_9.9\r\n").is_err());
        assert!(status_of("").is_err());
    }
}
