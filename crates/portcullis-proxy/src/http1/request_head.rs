//! Writing a request's head (RFC 9112 §3, §5).

use std::ops::Range;

use http::Method;
use http::header::{HOST, HeaderName, HeaderValue};

/// The head of a request, written as the bytes that are sent.
pub(crate) struct RequestHead {
    bytes: Vec<u8>,
    /// The position of the target's authority, which another target would replace by its own.
    authority: Range<usize>,
}

impl RequestHead {
    /// Writes the request line into an empty buffer. The caller has checked that the target has no spaces or line breaks.
    pub(crate) fn new(mut buffer: Vec<u8>, method: &Method, target: &[&str]) -> Self {
        buffer.extend_from_slice(method.as_str().as_bytes());
        buffer.push(b' ');
        for part in target {
            buffer.extend_from_slice(part.as_bytes());
        }
        buffer.extend_from_slice(b" HTTP/1.1\r\n");
        Self { bytes: buffer, authority: 0..0 }
    }

    /// Adds `Host` with the target's authority. If the request is repeated on another target, that one's takes its place.
    pub(crate) fn host_of_target(&mut self, authority: &HeaderValue) {
        self.line(HOST.as_str(), authority.as_bytes());
        let end = self.bytes.len() - b"\r\n".len();
        self.authority = end - authority.len()..end;
    }

    /// Adds a field.
    pub(crate) fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.line(name.as_str(), value.as_bytes());
    }

    /// Adds a field with a value that we made ourselves: printable ASCII only.
    pub(crate) fn literal_field(&mut self, name: &'static str, value: &str) {
        debug_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name}: {value:?}");
        self.line(name, value.as_bytes());
    }

    /// Adds a field whose value is appended by `write`.
    pub(crate) fn field_with(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        write(&mut self.bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        // One reservation for the whole line instead of one for each part.
        self.bytes.reserve(name.len() + value.len() + 4);
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Ends the head and returns its bytes, and the position of the target's authority within them.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Range<usize>) {
        self.bytes.extend_from_slice(b"\r\n");
        (self.bytes, self.authority)
    }
}
