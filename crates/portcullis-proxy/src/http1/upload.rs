//! Writing a request: its head, and its body as it comes (RFC 9112 §6, §7.1).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body;
use portcullis_gate::InboundBody;
use tokio::io::AsyncWrite;

use super::RequestHead;
use crate::error::ProxyError;

/// Pieces of a body up to this size are copied behind what is to be written anyway, so that both go out at once.
const COPIED: usize = 4 * 1024;

/// A request, and how much of it is written.
pub(crate) struct Upload {
    /// The head; later what frames the body, and its small pieces.
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
    /// A large piece of the body, which comes behind `out`.
    piece: Bytes,
    /// What comes behind `piece`.
    behind: &'static [u8],
    /// Until its end was met.
    body: Option<InboundBody>,
    framing: BodyFraming,
    /// Whether a byte of it was written ever.
    begun: bool,
}

#[derive(Clone, Copy)]
enum BodyFraming {
    Nothing,
    Length(u64),
    Chunked,
}

/// Why a request could not be written.
pub(super) enum UploadFault {
    /// The client's body.
    Body(ProxyError),
    /// The connection.
    Connection(io::Error),
}

impl Upload {
    /// A request with this head, and whatever body comes with it. The fields that frame the body are added here and
    /// nowhere else; `says_empty` asks for one even where there is no body.
    pub(crate) fn new(mut head: RequestHead, body: InboundBody, says_empty: bool) -> Self {
        let framing = match body.size_hint().exact() {
            _ if body.is_end_stream() => BodyFraming::Nothing,
            Some(0) => BodyFraming::Nothing,
            Some(length) => BodyFraming::Length(length),
            None => BodyFraming::Chunked,
        };
        match framing {
            BodyFraming::Nothing if says_empty => head.ours("content-length", "0"),
            BodyFraming::Nothing => {}
            BodyFraming::Length(length) => head.ours("content-length", &length.to_string()),
            BodyFraming::Chunked => head.ours("transfer-encoding", "chunked"),
        }
        let body = if matches!(framing, BodyFraming::Nothing) { None } else { Some(body) };
        Self { out: head.end(), written: 0, piece: Bytes::new(), behind: b"", body, framing, begun: false }
    }

    /// Writes what it can; ready once all of it is written.
    pub(super) fn poll(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadFault>> {
        loop {
            let mut waits = false;
            if !self.has_piece() && self.pending() < COPIED {
                match self.fetch(cx) {
                    Poll::Ready(result) => result.map_err(UploadFault::Body)?,
                    Poll::Pending => waits = true,
                }
            }
            if self.pending() == 0 && !self.has_piece() {
                return if waits { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
            ready!(self.write(stream, cx)).map_err(UploadFault::Connection)?;
        }
    }

    /// Whether all of it is written.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.pending() == 0 && !self.has_piece()
    }

    /// Whether it could be written once more from its beginning: it was not begun, or has no body and may be repeated.
    pub(super) fn rewind(&mut self, repeatable: bool) -> bool {
        let again = !self.begun || (repeatable && matches!(self.framing, BodyFraming::Nothing));
        if again {
            self.written = 0;
        }
        again
    }

    /// The buffer, for another request's head.
    pub(super) fn into_buffer(mut self) -> Vec<u8> {
        self.out.clear();
        self.out
    }

    /// How much of `out` is not written.
    fn pending(&self) -> usize {
        self.out.len() - self.written
    }

    /// Whether a large piece, or what comes behind it, is not written.
    fn has_piece(&self) -> bool {
        !self.piece.is_empty() || !self.behind.is_empty()
    }

    /// Takes the next piece of the body, framed.
    fn fetch(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        let data = loop {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                // Trailers are left out: `Trailer` is not passed on either.
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

    fn append(&mut self, data: Bytes, behind: &'static [u8]) {
        if data.len() <= COPIED {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(behind);
        } else {
            (self.piece, self.behind) = (data, behind);
        }
    }

    /// The body is over.
    fn end(&mut self) -> Result<(), ProxyError> {
        self.body = None;
        match self.framing {
            BodyFraming::Chunked => self.out.extend_from_slice(b"0\r\n\r\n"),
            // An upstream would wait for the rest.
            BodyFraming::Length(left) if left > 0 => return Err(ProxyError::ClientBody),
            BodyFraming::Length(_) | BodyFraming::Nothing => {}
        }
        Ok(())
    }

    fn write(&mut self, stream: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let out = &self.out[self.written..];
        let written = if self.has_piece() {
            let parts = [IoSlice::new(out), IoSlice::new(&self.piece), IoSlice::new(self.behind)];
            ready!(Pin::new(stream).poll_write_vectored(cx, &parts))?
        } else {
            ready!(Pin::new(stream).poll_write(cx, out))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.begun = true;
        let of_out = written.min(out.len());
        self.written += of_out;
        let of_piece = (written - of_out).min(self.piece.len());
        self.piece.advance(of_piece);
        self.behind = &self.behind[written - of_out - of_piece..];
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http::Method;

    use super::*;

    /// Takes a few bytes at a time, and every other time none.
    struct Narrow {
        taken: Vec<u8>,
        most: usize,
        open: bool,
    }

    impl AsyncWrite for Narrow {
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

    fn upload(body: &[u8], says_empty: bool) -> Upload {
        let head = RequestHead::new(Vec::new(), &Method::POST, &["/x", "?", "y"]);
        Upload::new(head, InboundBody::from_bytes(Bytes::copy_from_slice(body)), says_empty)
    }

    /// What is written to a connection that takes at most so many bytes at once.
    fn written(mut upload: Upload, most: usize) -> Vec<u8> {
        let mut stream = Narrow { taken: Vec::new(), most, open: false };
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
    fn a_request_is_written_whole_however_little_is_taken_at_once() {
        for length in [1, 10, COPIED, COPIED + 1, 5 * COPIED] {
            let body: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let wanted = [format!("POST /x?y HTTP/1.1\r\ncontent-length: {length}\r\n\r\n").as_bytes(), &body].concat();
            for most in [1, 7, 4096, usize::MAX] {
                assert!(written(upload(&body, false), most) == wanted, "{length} bytes, {most} at a time");
            }
        }
    }

    #[test]
    fn that_there_is_no_body_is_said_where_one_is_expected() {
        let nothing = |says_empty| {
            let head = RequestHead::new(Vec::new(), &Method::POST, &["/x"]);
            String::from_utf8(written(Upload::new(head, InboundBody::default(), says_empty), 7)).expect("text")
        };
        assert_eq!(nothing(true), "POST /x HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(nothing(false), "POST /x HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn only_what_did_not_begin_or_has_no_body_is_written_again() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut begun = |mut upload: Upload| {
            let mut stream = Narrow { taken: Vec::new(), most: 5, open: false };
            let _ = upload.poll(&mut stream, &mut cx);
            assert_eq!(stream.taken, b"POST ");
            upload
        };
        assert!(upload(b"body", false).rewind(false), "nobody has seen it");
        assert!(!begun(upload(b"body", false)).rewind(true));
        assert!(!begun(upload(b"", true)).rewind(false));
        let mut again = begun(upload(b"", true));
        assert!(again.rewind(true));
        assert!(written(again, 100).starts_with(b"POST /x"), "from its beginning");
    }
}
