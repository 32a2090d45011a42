//! Writing a request's head (RFC 9112 §3, §5).

use http::Method;
use http::header::{HeaderName, HeaderValue};

/// A head under construction, as the bytes that go over the wire.
pub(crate) struct RequestHead(Vec<u8>);

impl RequestHead {
    /// Begins with the request line, in a buffer that is empty. The target's bytes are the caller's to answer for.
    pub(crate) fn new(mut buffer: Vec<u8>, method: &Method, target: &[&str]) -> Self {
        buffer.extend_from_slice(method.as_str().as_bytes());
        buffer.push(b' ');
        for part in target {
            buffer.extend_from_slice(part.as_bytes());
        }
        buffer.extend_from_slice(b" HTTP/1.1\r\n");
        Self(buffer)
    }

    /// A field.
    pub(crate) fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.line(name.as_str(), value.as_bytes());
    }

    /// A field whose value consists of parts of our own making: letters, digits, punctuation.
    pub(crate) fn ours(&mut self, name: &'static str, value: &str) {
        debug_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name}: {value:?}");
        self.line(name, value.as_bytes());
    }

    /// A field whose value `write` appends.
    pub(crate) fn written(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        write(&mut self.0);
        self.0.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        // Once for the whole line, instead of for each of its parts.
        self.0.reserve(name.len() + value.len() + 4);
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// The whole head.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }
}
