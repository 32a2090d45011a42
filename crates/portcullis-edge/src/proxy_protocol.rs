//! The PROXY protocol, versions 1 and 2: a balancer that forwards bytes names the client that connected to it
//! (haproxy.org, proxy-protocol.txt). Read before the first request, and only from trusted proxies.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// First bytes of every header of version 2. No header of version 1 is shorter.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Length in bytes of the longest line of version 1, including its CRLF.
const MAX_LINE: usize = 107;
/// The most bytes after a header of version 2: two addresses and the fields that balancers add.
const MAX_BODY: usize = 4096;
/// Length in bytes of the path of a Unix socket.
const UNIX_PATH: usize = 108;
/// The type of the field about TLS (PP2_TYPE_SSL).
const TLS_FIELD: u8 = 0x20;
/// The flag of that field that says that the client connected by TLS (PP2_CLIENT_SSL).
const TLS_FLAG: u8 = 0x01;
/// A header of version 2 with the command LOCAL, no family and no body. `portcullis healthcheck` sends it.
pub const LOCAL_HEADER: [u8; 16] = *b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// What a header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    /// The client's address; `None` if the proxy connects for itself.
    pub(crate) client: Option<SocketAddr>,
    /// Whether the client speaks TLS to the proxy. Only version 2 can say so.
    pub(crate) https: bool,
}

/// Reads a header and no byte after it.
///
/// # Errors
/// When the bytes are not a header, or the stream ends within it.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<ProxyHeader> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE { read_binary(stream).await } else { read_line(stream, start).await }
}

/// Version 1: `PROXY TCP4 203.0.113.7 198.51.100.1 56324 443`.
async fn read_line(stream: &mut (impl AsyncRead + Unpin), start: [u8; 12]) -> io::Result<ProxyHeader> {
    if !start.starts_with(b"PROXY ") {
        return Err(invalid("the connection does not begin with a PROXY header"));
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE {
            return Err(invalid("the PROXY line does not end"));
        }
        line.push(stream.read_u8().await?);
    }
    let text = std::str::from_utf8(&line).ok().and_then(|text| text.strip_suffix("\r\n"));
    let words: Vec<&str> = text.unwrap_or_default().split(' ').collect();
    match words[..] {
        [_, "UNKNOWN", ..] => Ok(ProxyHeader::default()),
        [_, "TCP4", source, destination, port, to] => client::<Ipv4Addr>(source, destination, port, to),
        [_, "TCP6", source, destination, port, to] => client::<Ipv6Addr>(source, destination, port, to),
        _ => Err(invalid("the PROXY line is malformed")),
    }
}

fn client<A: std::str::FromStr + Into<IpAddr>>(
    source: &str,
    destination: &str,
    port: &str,
    to: &str,
) -> io::Result<ProxyHeader> {
    let malformed = || invalid("the PROXY line is malformed");
    let port_of = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits).ok_or_else(malformed)
    };
    let address: A = source.parse().map_err(|_| malformed())?;
    let _: A = destination.parse().map_err(|_| malformed())?;
    port_of(to)?;
    Ok(ProxyHeader { client: Some(SocketAddr::new(address.into(), port_of(port)?)), https: false })
}

/// Version 2, after its signature.
async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<ProxyHeader> {
    let (command, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = usize::from(stream.read_u16().await?);
    if command >> 4 != 2 || command & 0x0f > 1 {
        return Err(invalid("the PROXY header has an unknown version or command"));
    }
    if length > MAX_BODY {
        return Err(invalid("the PROXY header is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    // LOCAL: the proxy connects for itself, and the body has no meaning.
    if command & 0x0f == 0 {
        return Ok(ProxyHeader::default());
    }
    let short = || invalid("the PROXY header is too short");
    match family {
        // TCP or UDP over IPv4: source, destination, their ports, then fields that balancers add.
        0x11 | 0x12 => {
            let address: [u8; 4] = body.get(..4).and_then(|bytes| bytes.try_into().ok()).ok_or_else(short)?;
            let client = SocketAddr::new(Ipv4Addr::from(address).into(), port(&body, 8, 12).ok_or_else(short)?);
            Ok(ProxyHeader { client: Some(client), https: says_tls(&body[12..])? })
        }
        0x21 | 0x22 => {
            let address: [u8; 16] = body.get(..16).and_then(|bytes| bytes.try_into().ok()).ok_or_else(short)?;
            let client = SocketAddr::new(Ipv6Addr::from(address).into(), port(&body, 32, 36).ok_or_else(short)?);
            Ok(ProxyHeader { client: Some(client), https: says_tls(&body[36..])? })
        }
        // A Unix socket of the proxy's machine: two paths, then the fields.
        0x31 | 0x32 => {
            Ok(ProxyHeader { client: None, https: says_tls(body.get(2 * UNIX_PATH..).unwrap_or_default())? })
        }
        // An unspecified family: the body has no meaning.
        0x00 => Ok(ProxyHeader::default()),
        _ => Err(invalid("the PROXY header has an unknown address family")),
    }
}

/// Whether one of the fields after the addresses says that the client speaks TLS to the proxy.
fn says_tls(mut fields: &[u8]) -> io::Result<bool> {
    let malformed = || invalid("the fields of the PROXY header are malformed");
    let mut https = false;
    while let Some((head, rest)) = fields.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (value, rest) = rest.split_at_checked(length).ok_or_else(malformed)?;
        if head[0] == TLS_FIELD {
            // Flags, the outcome of the verification of a client certificate in four bytes, then fields of its own.
            https |= value.first_chunk::<5>().ok_or_else(malformed)?[0] & TLS_FLAG != 0;
        }
        fields = rest;
    }
    if fields.is_empty() { Ok(https) } else { Err(malformed()) }
}

/// The port at `at`; `None` if the body is shorter than `addresses`, the bytes of both addresses and ports.
fn port(body: &[u8], at: usize, addresses: usize) -> Option<u16> {
    let bytes = body.get(..addresses)?.get(at..at + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    async fn parsed(header: &[u8]) -> Result<String, String> {
        let all = [header, b"GET / HTTP/1.1\r\n"].concat();
        let mut stream = slow_stream(&all);
        let read = read(&mut stream).await.map_err(|error| error.to_string())?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("the rest");
        assert_eq!(rest, b"GET / HTTP/1.1\r\n", "a byte of the request was consumed");
        let client = read.client.map_or_else(|| "-".to_owned(), |client| client.to_string());
        Ok(if read.https { format!("{client} https") } else { client })
    }

    /// A stream that yields one byte at a time, as a slow network would.
    fn slow_stream(bytes: &[u8]) -> impl AsyncRead + Unpin + use<> {
        let (mut write, read) = tokio::io::duplex(1);
        let bytes = bytes.to_vec();
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            // The reader may have been dropped.
            let _ = write.write_all(&bytes).await;
        });
        read
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_the_request() {
        let v4 = [203, 0, 113, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb];
        let mut v6 = [0u8; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().expect("an address").octets());
        v6[32..].copy_from_slice(&[0x1f, 0x90, 1, 0xbb]);
        let with_extra_fields = [&v4[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        let tls = |flags: u8| [0x20, 0, 8, flags, 0, 0, 0, 0, 0x21, 0, 0];
        let unix = [[0; 216].as_slice(), &tls(1)].concat();
        for (header, client) in [
            (b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n".to_vec(), "203.0.113.7:56324"),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 8080 443\r\n".to_vec(), "[2001:db8::7]:8080"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "-"),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), "-"),
            (v2(0x21, 0x11, &v4), "203.0.113.7:56324"),
            (v2(0x21, 0x11, &with_extra_fields), "203.0.113.7:56324"),
            (v2(0x21, 0x21, &v6), "[2001:db8::7]:8080"),
            (v2(0x21, 0x11, &[&v4[..], &tls(1)].concat()), "203.0.113.7:56324 https"),
            (v2(0x21, 0x11, &[&with_extra_fields[..], &tls(5)].concat()), "203.0.113.7:56324 https"),
            (v2(0x21, 0x11, &[&v4[..], &tls(0)].concat()), "203.0.113.7:56324"),
            (v2(0x21, 0x21, &[&v6[..], &tls(7)].concat()), "[2001:db8::7]:8080 https"),
            (v2(0x21, 0x31, &unix), "- https"),
            (v2(0x20, 0x11, &[&v4[..], &tls(1)].concat()), "-"),
            (v2(0x20, 0x00, &[]), "-"),
            (v2(0x20, 0x11, &[1, 2, 3]), "-"),
            (v2(0x21, 0x00, &[9; 300]), "-"),
            (LOCAL_HEADER.to_vec(), "-"),
        ] {
            assert_eq!(parsed(&header).await.as_deref(), Ok(client), "{header:?}");
        }
    }

    #[tokio::test]
    async fn an_invalid_header_is_refused() {
        let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
        for header in [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 198.51.100.1 56324\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 198.51.100.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 198.51.100.1 66000 443\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 198.51.100.1 +1 443\r\n".to_vec(),
            b"PROXY TCP4  203.0.113.7 198.51.100.1 1 443\r\n".to_vec(),
            b"PROXY TCP9 203.0.113.7 198.51.100.1 1 443\r\n".to_vec(),
            b"proxy unknown of course\r\n".to_vec(),
            endless,
            v2(0x11, 0x11, &[0; 12]),
            v2(0x23, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 12]),
            v2(0x21, 0x77, &[0; 12]),
            v2(0x21, 0x11, &[0; 5000]),
            v2(0x21, 0x11, &[[0; 12].as_slice(), &[0x20, 0, 9, 1, 0, 0, 0, 0]].concat()),
            v2(0x21, 0x11, &[[0; 12].as_slice(), &[0x20, 0, 1, 1]].concat()),
            v2(0x21, 0x11, &[[0; 12].as_slice(), &[0x20, 0]].concat()),
        ] {
            assert!(parsed(&header).await.is_err(), "{:?}", String::from_utf8_lossy(&header));
        }
    }
}
