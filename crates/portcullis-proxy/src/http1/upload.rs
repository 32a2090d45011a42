//! Writing a request: its head, and its body as it arrives from the client (RFC 9112 §6, §7.1).

use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderValue;
use http_body::Body;
use portcullis_gate::{InboundBody, Propagation};
use portcullis_telemetry::traces::SpanId;
use tokio::io::AsyncWrite;

use super::RequestHead;
use crate::error::ProxyError;

/// Pieces of a body up to this size, in bytes, are copied into the output buffer, so that one write sends both.
const MAX_COPIED: usize = 4 * 1024;

/// A request that is being written.
pub(crate) struct Upload {
    /// The output buffer: the head, later the framing of the body and its small pieces.
    out: Vec<u8>,
    /// The number of bytes of `out` that are written.
    written: usize,
    /// A large piece of the body, which is written after `out` without copying it.
    piece: Bytes,
    /// The framing after `piece`.
    after_piece: &'static [u8],
    /// The rest of the body; `None` after its end.
    body: Option<InboundBody>,
    framing: BodyFraming,
    /// The position of the target's authority in `out`, until the first byte of the body.
    authority: Range<usize>,
    /// Whether any byte was written, on this connection or on an earlier one.
    begun: bool,
    /// Whether any byte was written since the last [`take_progress`](Self::take_progress).
    progress: bool,
}

#[derive(Clone, Copy)]
enum BodyFraming {
    Nothing,
    Length(u64),
    Chunked,
}

/// The reason why a request could not be written.
pub(super) enum UploadError {
    /// Reading the client's body failed.
    Body(ProxyError),
    /// Writing to the upstream failed.
    Connection(io::Error),
}

impl Upload {
    /// A request with this head and body. The fields that frame the body are added here and nowhere else.
    /// `announces_empty` asks for `Content-Length: 0` if there is no body.
    pub(crate) fn new(mut head: RequestHead, body: InboundBody, announces_empty: bool) -> Self {
        let framing = match body.size_hint().exact() {
            _ if body.is_end_stream() => BodyFraming::Nothing,
            Some(0) => BodyFraming::Nothing,
            Some(length) => BodyFraming::Length(length),
            None => BodyFraming::Chunked,
        };
        match framing {
            BodyFraming::Nothing if announces_empty => head.literal_field("content-length", "0"),
            BodyFraming::Nothing => {}
            BodyFraming::Length(length) => head.literal_field("content-length", &length.to_string()),
            BodyFraming::Chunked => head.literal_field("transfer-encoding", "chunked"),
        }
        let body = if matches!(framing, BodyFraming::Nothing) { None } else { Some(body) };
        let (out, authority) = head.finish();
        Self {
            out,
            written: 0,
            piece: Bytes::new(),
            after_piece: b"",
            body,
            framing,
            authority,
            begun: false,
            progress: false,
        }
    }

    /// Writes as much as the connection accepts. It is ready once the whole request is written.
    pub(super) fn poll(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            let mut waits_for_client = false;
            if !self.has_piece() && self.pending() < MAX_COPIED {
                match self.fetch(cx) {
                    Poll::Ready(result) => result.map_err(UploadError::Body)?,
                    Poll::Pending => waits_for_client = true,
                }
            }
            if !self.has_unwritten() {
                return if waits_for_client { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
            ready!(self.write(stream, cx)).map_err(UploadError::Connection)?;
        }
    }

    /// Whether the whole request is written.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && !self.has_unwritten()
    }

    /// Whether any byte was written, on this connection or on an earlier one.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether bytes wait for the connection to accept them.
    pub(super) fn has_unwritten(&self) -> bool {
        self.pending() > 0 || self.has_piece()
    }

    /// Whether any byte was written since the last call.
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// Whether the request may be written again: no byte was written, or its method is idempotent and it has no body.
    pub(super) fn may_repeat(&self, idempotent: bool) -> bool {
        !self.begun || (idempotent && matches!(self.framing, BodyFraming::Nothing))
    }

    /// Goes back to the beginning, for a target with this authority.
    pub(crate) fn rewind(&mut self, authority: &HeaderValue) {
        if !self.authority.is_empty() {
            let start = self.authority.start;
            self.out.splice(self.authority.clone(), authority.as_bytes().iter().copied());
            self.authority = start..start + authority.len();
        }
        self.written = 0;
    }

    /// Puts another span of the gateway into the fields that name the trace.
    pub(crate) fn continue_in(&mut self, span: SpanId, propagation: Propagation) {
        const TRACE_ID: usize = "0af7651916cd43dd8448eb211c80319c-".len();
        let fields: [(bool, &[u8], usize); 3] = [
            (true, b"\r\ntraceparent: 00-", TRACE_ID),
            (propagation.writes_b3, b"\r\nb3: ", TRACE_ID),
            (propagation.writes_b3_multi, b"\r\nx-b3-spanid: ", 0),
        ];
        for (_, before, skipped) in fields.into_iter().filter(|(is_written, ..)| *is_written) {
            // No value contains a line break, so that this is the field.
            let Some(at) = self.out.windows(before.len()).position(|bytes| bytes == before) else { continue };
            let digits = at + before.len() + skipped;
            if let Some(digits) = self.out.get_mut(digits..digits + 16) {
                digits.copy_from_slice(&span.digits());
            }
        }
    }

    /// The empty output buffer, for the head of another request.
    pub(super) fn into_buffer(mut self) -> Vec<u8> {
        self.out.clear();
        self.out
    }

    /// The number of bytes of `out` that are not written.
    fn pending(&self) -> usize {
        self.out.len() - self.written
    }

    /// Whether a large piece or the framing after it is not written.
    fn has_piece(&self) -> bool {
        !self.piece.is_empty() || !self.after_piece.is_empty()
    }

    /// Takes the next piece of the body and adds its framing.
    fn fetch(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        let data = loop {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                // Trailers are dropped, as `Trailer` is.
                Some(frame) => match frame?.into_data() {
                    Ok(data) if !data.is_empty() => break Some(data),
                    Ok(_) | Err(_) => {}
                },
                None => break None,
            }
        };
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        let Some(data) = data else { return Poll::Ready(self.end()) };
        match &mut self.framing {
            BodyFraming::Chunked => {
                self.out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                self.append(data, b"\r\n");
            }
            BodyFraming::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(ProxyError::ClientBody)?;
                if *left == 0 {
                    self.body = None;
                }
                self.append(data, b"");
            }
            BodyFraming::Nothing => return Poll::Ready(Err(ProxyError::ClientBody)),
        }
        Poll::Ready(Ok(()))
    }

    fn append(&mut self, data: Bytes, after: &'static [u8]) {
        if data.len() <= MAX_COPIED {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(after);
        } else {
            (self.piece, self.after_piece) = (data, after);
        }
    }

    /// Ends the body.
    fn end(&mut self) -> Result<(), ProxyError> {
        self.body = None;
        match self.framing {
            BodyFraming::Chunked => self.out.extend_from_slice(b"0\r\n\r\n"),
            // The upstream would wait for the rest.
            BodyFraming::Length(left) if left > 0 => return Err(ProxyError::ClientBody),
            BodyFraming::Length(_) | BodyFraming::Nothing => {}
        }
        Ok(())
    }

    fn write(&mut self, stream: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let out = &self.out[self.written..];
        let written = if self.has_piece() {
            let parts = [IoSlice::new(out), IoSlice::new(&self.piece), IoSlice::new(self.after_piece)];
            ready!(Pin::new(stream).poll_write_vectored(cx, &parts))?
        } else {
            ready!(Pin::new(stream).poll_write(cx, out))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        (self.begun, self.progress) = (true, true);
        let of_out = written.min(out.len());
        self.written += of_out;
        let of_piece = (written - of_out).min(self.piece.len());
        self.piece.advance(of_piece);
        self.after_piece = &self.after_piece[written - of_out - of_piece..];
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http::Method;

    use super::*;

    /// A connection that accepts a few bytes at a time, and none every other time.
    struct SlowWriter {
        taken: Vec<u8>,
        most: usize,
        open: bool,
    }

    impl AsyncWrite for SlowWriter {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.open = !self.open;
            if !self.open {
                return Poll::Pending;
            }
            let count = bytes.len().min(self.most);
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).take(self.most).collect();
            self.as_mut().poll_write(cx, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn upload(body: &[u8], announces_empty: bool) -> Upload {
        let head = RequestHead::new(Vec::new(), &Method::POST, &["/x", "?", "y"]);
        Upload::new(head, InboundBody::from_bytes(Bytes::copy_from_slice(body)), announces_empty)
    }

    /// The bytes that are written to a connection that accepts at most `most` at once.
    fn written(mut upload: Upload, most: usize) -> Vec<u8> {
        let mut stream = SlowWriter { taken: Vec::new(), most, open: false };
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            assert!(stream.taken.len() < 1 << 20, "it has no end");
            match upload.poll(&mut stream, &mut cx) {
                Poll::Ready(result) => {
                    assert!(result.is_ok() && upload.is_done());
                    return stream.taken;
                }
                Poll::Pending => assert!(!upload.is_done()),
            }
        }
    }

    #[test]
    fn a_request_is_written_in_pieces_of_any_size() {
        for length in [1, 10, MAX_COPIED, MAX_COPIED + 1, 5 * MAX_COPIED] {
            let body: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let wanted = [format!("POST /x?y HTTP/1.1\r\ncontent-length: {length}\r\n\r\n").as_bytes(), &body].concat();
            for most in [1, 7, 4096, usize::MAX] {
                assert!(written(upload(&body, false), most) == wanted, "{length} bytes, {most} at a time");
            }
        }
    }

    #[test]
    fn an_empty_body_is_announced_if_one_is_expected() {
        let nothing = |announces_empty| {
            let head = RequestHead::new(Vec::new(), &Method::POST, &["/x"]);
            String::from_utf8(written(Upload::new(head, InboundBody::default(), announces_empty), 7)).expect("text")
        };
        assert_eq!(nothing(true), "POST /x HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(nothing(false), "POST /x HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn only_an_unwritten_or_bodiless_request_is_repeated() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut begun = |mut upload: Upload| {
            let mut stream = SlowWriter { taken: Vec::new(), most: 5, open: false };
            let _ = upload.poll(&mut stream, &mut cx);
            assert_eq!(stream.taken, b"POST ");
            upload
        };
        assert!(upload(b"body", false).may_repeat(false), "no byte was written");
        assert!(!begun(upload(b"body", false)).may_repeat(true));
        assert!(!begun(upload(b"", true)).may_repeat(false));
        assert!(begun(upload(b"", true)).may_repeat(true));
    }

    #[test]
    fn a_repeated_request_names_its_new_target() {
        let mut head = RequestHead::new(Vec::new(), &Method::GET, &["/x"]);
        head.host_of_target(&HeaderValue::from_static("one:1"));
        head.literal_field("x-other", "one:1");
        let mut upload = Upload::new(head, InboundBody::default(), false);
        upload.rewind(&HeaderValue::from_static("another:22"));
        upload.rewind(&HeaderValue::from_static("third"));
        assert_eq!(written(upload, 100), b"GET /x HTTP/1.1\r\nhost: third\r\nx-other: one:1\r\n\r\n");
    }
}
