//! Writing a request's head (RFC 9112 §3, §5).

use http::Method;
use http::header::{HeaderName, HeaderValue};

/// The head of a request, written as the bytes that are sent.
pub(crate) struct RequestHead(Vec<u8>);

impl RequestHead {
    /// Writes the request line into an empty buffer. The caller has checked that the target has no spaces or line breaks.
    pub(crate) fn new(mut buffer: Vec<u8>, method: &Method, target: &[&str]) -> Self {
        buffer.extend_from_slice(method.as_str().as_bytes());
        buffer.push(b' ');
        for part in target {
            buffer.extend_from_slice(part.as_bytes());
        }
        buffer.extend_from_slice(b" HTTP/1.1\r\n");
        Self(buffer)
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
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        write(&mut self.0);
        self.0.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        // One reservation for the whole line instead of one for each part.
        self.0.reserve(name.len() + value.len() + 4);
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// Ends the head and returns its bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }
}
