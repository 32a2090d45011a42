//! A conversation with a mail server (RFC 5321) for `portcullis doctor`, which keeps a transcript without secrets.

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Stands in the transcript for what is secret.
const HIDDEN: &str = "[hidden]";
/// The longest reply: a line has at most 512 bytes (RFC 5321 §4.5.3.1.5), and a reply to `EHLO` has few lines.
const LONGEST_REPLY: usize = 16 * 1024;

/// A connection to a mail server.
pub(crate) struct Conversation {
    stream: Stream,
    transcript: Vec<String>,
    secrets: Vec<String>,
}

enum Stream {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
    /// A handshake has failed.
    Closed,
}

/// A reply of the server: its code and its lines.
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) lines: Vec<String>,
}

impl Reply {
    /// Whether the server did what it was asked for.
    pub(crate) fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// The last line, for a message.
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.code, self.lines.last().map_or("", String::as_str))
    }

    /// Whether a reply to `EHLO` lists this extension.
    pub(crate) fn offers(&self, extension: &str) -> bool {
        self.extension(extension).is_some()
    }

    /// The parameters of an extension in a reply to `EHLO`.
    pub(crate) fn extension(&self, name: &str) -> Option<&str> {
        self.lines.iter().skip(1).find_map(|line| {
            let (keyword, parameters) = line.split_once([' ', '=']).unwrap_or((line, ""));
            keyword.eq_ignore_ascii_case(name).then_some(parameters)
        })
    }
}

impl Conversation {
    /// Connects. The transcript will hide the password.
    pub(crate) async fn connect(host: &str, port: u16, credentials: Option<(&str, &str)>) -> io::Result<Self> {
        let stream = TcpStream::connect((host, port)).await?;
        let secrets = credentials.map_or_else(Vec::new, |(user, password)| {
            let forms = [password.to_owned(), STANDARD.encode(password), plain(user, password)];
            forms.into_iter().filter(|form| !form.is_empty()).collect()
        });
        Ok(Self { stream: Stream::Plain(stream), transcript: Vec::new(), secrets })
    }

    /// Encrypts the connection from here on. Returns the version of TLS.
    pub(crate) async fn encrypt(&mut self, host: &str, config: ClientConfig) -> io::Result<String> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Closed) else {
            return Err(io::Error::other("the connection is encrypted already"));
        };
        match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => {
                let version = stream.get_ref().1.protocol_version();
                let version =
                    version.map_or_else(|| "TLS".to_owned(), |version| format!("{version:?}").replace('_', "."));
                self.transcript.push(format!("-- encrypted by {version}"));
                self.stream = Stream::Encrypted(Box::new(stream));
                Ok(version)
            }
            Err(error) => {
                self.transcript.push(format!("-- the TLS handshake failed: {error}"));
                Err(error)
            }
        }
    }

    /// Sends a command and returns the reply. `shown` stands in the transcript.
    pub(crate) async fn command(&mut self, command: &str, shown: &str) -> io::Result<Reply> {
        self.transcript.push(format!("C: {shown}"));
        let line = format!("{command}\r\n");
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(line.as_bytes()).await?,
            Stream::Encrypted(stream) => {
                stream.write_all(line.as_bytes()).await?;
                stream.flush().await?;
            }
            Stream::Closed => return Err(io::ErrorKind::NotConnected.into()),
        }
        self.reply().await
    }

    /// Authenticates (RFC 4954) with the first mechanism of those offered that both sides know.
    pub(crate) async fn authenticate(
        &mut self,
        mechanisms: &str,
        user: &str,
        password: &str,
    ) -> io::Result<Option<Reply>> {
        let offers = |name: &str| mechanisms.split_whitespace().any(|offered| offered.eq_ignore_ascii_case(name));
        if offers("PLAIN") {
            let command = format!("AUTH PLAIN {}", plain(user, password));
            return self.command(&command, &format!("AUTH PLAIN {HIDDEN}")).await.map(Some);
        }
        if !offers("LOGIN") {
            return Ok(None);
        }
        let mut reply = self.command("AUTH LOGIN", "AUTH LOGIN").await?;
        for answer in [user, password] {
            if reply.code != 334 {
                break;
            }
            reply = self.command(&STANDARD.encode(answer), HIDDEN).await?;
        }
        Ok(Some(reply))
    }

    /// Reads a reply, which may have several lines (RFC 5321 §4.2.1).
    pub(crate) async fn reply(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        let mut length = 0;
        loop {
            let line = self.line().await?;
            length += line.len();
            self.transcript.push(format!("S: {}", self.without_secrets(&line)));
            let (code, more, text) = parse(&line).ok_or_else(|| io::Error::other("the server does not speak SMTP"))?;
            lines.push(self.without_secrets(text));
            if !more {
                return Ok(Reply { code, lines });
            }
            if length > LONGEST_REPLY {
                return Err(io::Error::other("the reply of the server has no end"));
            }
        }
    }

    /// What was said, a line each, without the password.
    pub(crate) fn into_transcript(self) -> Vec<String> {
        self.transcript
    }

    /// Byte by byte: what follows a reply to `STARTTLS` belongs to the encrypted connection.
    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        loop {
            let byte = match &mut self.stream {
                Stream::Plain(stream) => stream.read_u8().await?,
                Stream::Encrypted(stream) => stream.read_u8().await?,
                Stream::Closed => return Err(io::ErrorKind::NotConnected.into()),
            };
            match byte {
                b'\n' => return Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
                _ if line.len() >= LONGEST_REPLY => return Err(io::Error::other("the reply of the server has no end")),
                _ => line.push(byte),
            }
        }
    }

    /// A line of the server that may repeat what we sent, and must not control a terminal.
    fn without_secrets(&self, line: &str) -> String {
        let safe = self.secrets.iter().fold(line.to_owned(), |line, secret| line.replace(secret, HIDDEN));
        safe.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

/// The response of the mechanism PLAIN (RFC 4616).
fn plain(user: &str, password: &str) -> String {
    STANDARD.encode(format!("\0{user}\0{password}"))
}

/// Splits a line of a reply into its code, whether more lines follow, and its text.
fn parse(line: &str) -> Option<(u16, bool, &str)> {
    let (code, rest) = (line.get(..3)?, line.get(3..)?);
    let code = code.parse().ok().filter(|code| (200..600).contains(code))?;
    match rest.chars().next() {
        None => Some((code, false, "")),
        Some(' ') => Some((code, false, &rest[1..])),
        Some('-') => Some((code, true, &rest[1..])),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_code_and_says_whether_more_follow() {
        assert_eq!(parse("250-mail.example"), Some((250, true, "mail.example")));
        assert_eq!(parse("250 OK"), Some((250, false, "OK")));
        assert_eq!(parse("220"), Some((220, false, "")));
        for bad in ["HTTP/1.1 400", "25", "999 x", "250:x", "+OK POP3"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_extension_is_found_by_its_keyword() {
        let lines = ["mail.example", "STARTTLS", "AUTH PLAIN LOGIN", "SIZE 1000"].map(str::to_owned).to_vec();
        let reply = Reply { code: 250, lines };
        assert!(reply.offers("starttls") && !reply.offers("mail.example"));
        assert_eq!(reply.extension("AUTH"), Some("PLAIN LOGIN"));
    }
}
