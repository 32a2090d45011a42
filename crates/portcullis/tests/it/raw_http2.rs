//! An HTTP/2 client that sends any frame, valid or not (RFC 9113 §4.1).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use portcullis_testkit::TestApp;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// How long to wait for a frame that must come.
const FRAME_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection on which any frame can be sent.
pub(crate) struct RawHttp2 {
    stream: TcpStream,
    next_id: u32,
    /// Frames that were received and not asked for yet.
    received: Vec<Frame>,
    /// Whether the server has closed the connection.
    pub(crate) closed: bool,
}

pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Whether it is the head of a 200: entry 8 of HPACK's static table, perhaps after a table size update.
    pub(crate) fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.payload.iter().find(|byte| *byte >> 5 != 1) == Some(&0x88)
    }

    /// The error code of a RST_STREAM or GOAWAY frame.
    pub(crate) fn error_code(&self) -> u32 {
        let start = if self.kind == GOAWAY { 4 } else { 0 };
        self.payload[start..start + 4].try_into().map(u32::from_be_bytes).expect("four bytes")
    }

    /// By how many bytes a WINDOW_UPDATE frame opens the window.
    pub(crate) fn window_increment(&self) -> usize {
        self.payload[..].try_into().map(u32::from_be_bytes).expect("four bytes") as usize
    }
}

/// The header block of a GET, without compression apart from the static table (RFC 7541).
pub(crate) fn get_block(path: &str) -> Vec<u8> {
    request_block(0x82, path)
}

/// The header block of a POST.
pub(crate) fn post_block(path: &str) -> Vec<u8> {
    request_block(0x83, path)
}

fn request_block(method: u8, path: &str) -> Vec<u8> {
    [vec![method, 0x86, 0x04], string(path), vec![0x01], string("a")].concat()
}

/// One more field of a header block.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0x00], string(name), string(value)].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
}

impl RawHttp2 {
    /// Connects and sends the preface and empty SETTINGS.
    pub(crate) fn connect(app: &TestApp) -> Self {
        let mut stream = TcpStream::connect(app.address()).expect("the server listens");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("the connection is open");
        let mut client = Self::from_stream(stream);
        client.send(SETTINGS, 0, 0, &[]).expect("the connection is open");
        client
    }

    /// Uses a connection on which nothing but a preface was sent.
    pub(crate) fn from_stream(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("the option can be set");
        stream.set_read_timeout(Some(FRAME_TIMEOUT)).expect("a timeout can be set");
        Self { stream, next_id: 1, received: Vec::new(), closed: false }
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let header = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.stream.write_all(&[&header, payload].concat())
    }

    /// Sends a GET and returns its stream.
    pub(crate) fn get(&mut self, path: &str) -> std::io::Result<u32> {
        let id = self.next_id;
        self.next_id += 2;
        self.send(HEADERS, END_STREAM | END_HEADERS, id, &get_block(path))?;
        Ok(id)
    }

    pub(crate) fn reset(&mut self, stream: u32) -> std::io::Result<()> {
        const CANCEL: u32 = 8;
        self.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
    }

    /// Waits until the server has read everything sent so far.
    pub(crate) fn round_trip(&mut self) {
        if self.send(PING, 0, 0, b"12345678").is_ok() {
            self.wait_for(|frame| frame.kind == PING);
        }
    }

    /// Whether a request gets a 200.
    pub(crate) fn is_ok(&mut self, stream: u32) -> bool {
        self.wait_for(|frame| frame.stream == stream && frame.kind == HEADERS).is_some_and(|frame| frame.is_ok())
    }

    /// Whether the server sends a frame of this kind on this stream.
    pub(crate) fn receives(&mut self, stream: u32, kind: u8) -> bool {
        self.wait_for(|frame| frame.stream == stream && frame.kind == kind).is_some()
    }

    /// Whether the server closes the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.wait_for(|_| false);
        self.closed
    }

    /// The first such frame, received already or to come. `None` if the connection ends or the time is over.
    pub(crate) fn wait_for(&mut self, is_wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            if let Some(index) = self.received.iter().position(&is_wanted) {
                return Some(self.received.remove(index));
            }
            match self.read() {
                Ok(frame) => self.received.push(frame),
                Err(error) => {
                    self.closed = ![ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
                    return None;
                }
            }
        }
    }

    /// The next frame, if one comes within `timeout`.
    pub(crate) fn next_frame_within(&mut self, timeout: Duration) -> Option<Frame> {
        self.stream.set_read_timeout(Some(timeout)).expect("a timeout can be set");
        let frame = if self.received.is_empty() { self.read().ok() } else { Some(self.received.remove(0)) };
        self.stream.set_read_timeout(Some(FRAME_TIMEOUT)).expect("a timeout can be set");
        frame
    }

    fn read(&mut self) -> std::io::Result<Frame> {
        let mut header = [0; 9];
        self.stream.read_exact(&mut header)?;
        let mut payload = vec![0; u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize];
        self.stream.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        Ok(Frame { kind: header[3], stream, payload })
    }
}
