//! One request and its response on a connection.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Method;
use tokio::net::TcpStream;

use super::chunked::BodyPart;
use super::upload::UploadError;
use super::{Framing, ResponseHead, Upload};
use crate::error::{ProxyError, UpstreamFault};
use crate::upstreams::{Connection, Slot, TunnelHold};

/// A request that was sent or is being sent, and the response to it.
pub(crate) struct Exchange {
    connection: Connection,
    upload: Upload,
    method: Method,
    /// Whether a byte of the response was read.
    has_read: bool,
    /// Whether writing failed. The upstream may still have sent its response before.
    write_failed: bool,
    /// Whether the response allows another request on the connection.
    keeps_alive: bool,
}

impl Exchange {
    pub(crate) fn new(connection: Connection, upload: Upload, method: Method) -> Self {
        Self { connection, upload, method, has_read: false, write_failed: false, keeps_alive: false }
    }

    /// Writes the request until the response's head is read.
    pub(crate) async fn response(&mut self) -> Result<ResponseHead, ProxyError> {
        poll_fn(|cx| self.poll_response(cx)).await
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, ProxyError>> {
        self.write(cx)?;
        loop {
            if !self.connection.read.is_empty() {
                match ResponseHead::take(&mut self.connection.read, &self.method)? {
                    Some(head) if head.is_interim() => continue,
                    Some(head) => {
                        self.keeps_alive = head.keeps_alive;
                        return Poll::Ready(Ok(head));
                    }
                    None => {}
                }
            }
            if ready!(self.connection.poll_read(cx))? == 0 {
                return Poll::Ready(Err(UpstreamFault::Closed.into()));
            }
            self.has_read = true;
        }
    }

    /// Whether the request may be written again on another connection. That is so if this one was reused, so that the
    /// upstream may have closed it at the same moment, and if the upstream has not seen the request or may see it twice.
    pub(crate) fn may_repeat(&mut self, idempotent: bool) -> bool {
        self.connection.reused && !self.has_read && self.upload.rewind(idempotent)
    }

    /// The request, to be sent on another connection. This one is closed first, so that it leaves its slot at the target.
    pub(crate) fn into_request(self) -> (Upload, Method) {
        (self.upload, self.method)
    }

    /// Whether the whole request was written.
    pub(crate) fn is_written(&self) -> bool {
        self.upload.is_done()
    }

    /// The whole body if it arrived together with its head.
    pub(crate) fn whole(&mut self, framing: &mut Framing) -> Option<Bytes> {
        framing.whole(&mut self.connection.read)
    }

    /// The next part of the response's body. The rest of the request is written meanwhile.
    pub(crate) fn poll_body(
        &mut self,
        framing: &mut Framing,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ProxyError>>> {
        self.write(cx)?;
        loop {
            match framing.next(&mut self.connection.read).map_err(ProxyError::from)? {
                BodyPart::Data(data) => return Poll::Ready(Some(Ok(data))),
                BodyPart::End => return Poll::Ready(None),
                BodyPart::More => {}
            }
            if ready!(self.connection.poll_read(cx))? == 0 {
                let end = if framing.ends_with_connection() { None } else { Some(Err(UpstreamFault::Closed.into())) };
                return Poll::Ready(end);
            }
        }
    }

    /// Rules out another request on the connection, whatever the response says.
    pub(crate) fn forbid_reuse(&mut self) {
        self.keeps_alive = false;
    }

    /// The connection after the response, if it may be used for another request.
    pub(crate) fn into_reusable(self) -> Option<Connection> {
        let Self { mut connection, upload, keeps_alive, write_failed, .. } = self;
        // Bytes after the response belong to no request of ours.
        let usable = keeps_alive && !write_failed && upload.is_done() && connection.read.is_empty();
        usable.then(|| {
            connection.write = upload.into_buffer();
            connection
        })
    }

    /// Counts the connection as a stream from now on.
    pub(crate) fn becomes_stream(&mut self, slot: Slot) {
        self.connection.becomes_stream(slot);
    }

    /// The stream, the bytes that were read after the response's head, and what to hold until the stream is closed. The
    /// bytes belong to the protocol that was switched to.
    pub(crate) fn into_tunnel(self) -> (TcpStream, BytesMut, TunnelHold) {
        self.connection.into_tunnel()
    }

    /// Writes as much of the request as the connection accepts now.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), ProxyError> {
        if self.write_failed {
            return Ok(());
        }
        match self.upload.poll(&mut self.connection.stream, cx) {
            Poll::Ready(Err(UploadError::Body(error))) => Err(error),
            Poll::Ready(Err(UploadError::Connection(error))) => {
                // The upstream may have responded before it stopped reading.
                tracing::debug!(%error, "an upstream stopped reading a request");
                self.write_failed = true;
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use portcullis_gate::InboundBody;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::super::RequestHead;
    use super::*;
    use crate::upstreams::Target;

    /// A connection whose upstream has sent these bytes and has then reset it.
    async fn reset_after(sent: &[u8]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let mut connection = Target::on_loopback(port).connect_now().await.expect("it listens");
        let (mut upstream, _) = listener.accept().await.expect("a connection");
        // Closing with unread bytes resets the connection.
        connection.stream.write_all(b"unread").await.expect("it is open");
        upstream.readable().await.expect("it has come");
        upstream.write_all(sent).await.expect("it is open");
        drop(upstream);
        // Waits until the reset has arrived, so that no byte can be written any more.
        while connection.stream.try_write(b"x").map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |_| true) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        connection
    }

    fn post() -> Upload {
        let head = RequestHead::new(Vec::new(), &Method::POST, &["/"]);
        Upload::new(head, InboundBody::from_bytes(Bytes::from_static(b"body")), false)
    }

    #[tokio::test]
    async fn a_response_before_a_reset_is_read() {
        let connection = reset_after(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await;
        let mut exchange = Exchange::new(connection, post(), Method::POST);
        let mut head = exchange.response().await.expect("it was sent before the reset");
        assert_eq!(head.status, 413);
        assert_eq!(exchange.whole(&mut head.framing).expect("it is short"), "no");
        assert!(exchange.into_reusable().is_none());
    }

    #[tokio::test]
    async fn an_unseen_request_is_repeated_whatever_its_method() {
        let mut exchange = Exchange::new(reset_after(b"").await, post(), Method::POST);
        assert!(matches!(exchange.response().await, Err(ProxyError::Broken(_))));
        assert!(!exchange.may_repeat(false), "its connection was new");
        let mut connection = reset_after(b"").await;
        connection.reused = true;
        let mut exchange = Exchange::new(connection, post(), Method::POST);
        assert!(matches!(exchange.response().await, Err(ProxyError::Broken(_))));
        assert!(exchange.may_repeat(false));
    }
}
