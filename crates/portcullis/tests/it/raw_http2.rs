//! A client of HTTP/2 that says what it likes, a frame at a time (RFC 9113 §4.1).

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
/// How long to wait for what must come.
const SOON: Duration = Duration::from_secs(20);

/// A connection on which any frame can be sent.
pub(crate) struct RawHttp2 {
    stream: TcpStream,
    next: u32,
    heard: Vec<Frame>,
    /// Whether the server has closed it.
    pub(crate) closed: bool,
}

pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Whether it is the head of a 200: the eighth row of the table, perhaps after an update of its size.
    pub(crate) fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.payload.iter().find(|byte| *byte >> 5 != 1) == Some(&0x88)
    }
}

/// The block of a GET's fields, without compression but for the table (RFC 7541).
pub(crate) fn head(path: &str) -> Vec<u8> {
    [vec![0x82, 0x86, 0x04], text(path), vec![0x01], text("a")].concat()
}

/// One more field of a block.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0x00], text(name), text(value)].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
}

impl RawHttp2 {
    pub(crate) fn open(app: &TestApp) -> Self {
        let mut stream = TcpStream::connect(app.address()).expect("the server listens");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("it is open");
        let mut wire = Self::over(stream);
        wire.frame(SETTINGS, 0, 0, &[]).expect("it is open");
        wire
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("it can be set");
        stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        Self { stream, next: 1, heard: Vec::new(), closed: false }
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.stream.write_all(&[&head, payload].concat())
    }

    pub(crate) fn get(&mut self, path: &str) -> std::io::Result<u32> {
        let id = self.next;
        self.next += 2;
        self.frame(HEADERS, END_STREAM | END_HEADERS, id, &head(path))?;
        Ok(id)
    }

    pub(crate) fn reset(&mut self, stream: u32) -> std::io::Result<()> {
        self.frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
    }

    /// The next frame, if one comes within this time.
    pub(crate) fn frame_within(&mut self, time: Duration) -> Option<Frame> {
        self.stream.set_read_timeout(Some(time)).expect("a timeout can be set");
        let frame = if self.heard.is_empty() { self.read().ok() } else { Some(self.heard.remove(0)) };
        self.stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        frame
    }

    /// Waits until the server has read everything that was sent.
    pub(crate) fn round_trip(&mut self) {
        if self.frame(PING, 0, 0, b"are you ").is_ok() {
            self.await_frame(|frame| frame.kind == PING);
        }
    }

    /// Whether a stream is answered with 200.
    pub(crate) fn answered(&mut self, id: u32) -> bool {
        self.await_frame(|frame| frame.stream == id && frame.kind == HEADERS).is_some_and(|frame| frame.is_ok())
    }

    pub(crate) fn has(&mut self, stream: u32, kind: u8) -> bool {
        self.await_frame(|frame| frame.stream == stream && frame.kind == kind).is_some()
    }

    /// Whether the server closes the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.await_frame(|_| false);
        self.closed
    }

    /// The first frame of a kind, heard already or still to come.
    pub(crate) fn await_frame(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            if let Some(at) = self.heard.iter().position(&wanted) {
                return Some(self.heard.remove(at));
            }
            match self.read() {
                Ok(frame) => self.heard.push(frame),
                Err(error) => {
                    self.closed = ![ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
                    return None;
                }
            }
        }
    }

    fn read(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.stream.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Ok(Frame { kind: head[3], stream, payload })
    }
}
