//! One request and its response on a connection.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::chunked::BodyPart;
use super::upload::UploadError;
use super::{Framing, ResponseHead, Upload};
use crate::error::{ProxyError, UpstreamFault};
use crate::upstreams::{Connection, KeepAlive, Slot, TunnelHold};

/// The most interim responses (1xx) to one request.
const MAX_INTERIM: u32 = 64;

/// A request that was sent or is being sent, and the response to it.
pub(crate) struct Exchange {
    connection: Box<Connection>,
    upload: Upload,
    method: Method,
    /// The number of interim responses.
    interim: u32,
    /// Whether writing failed. The upstream may still have sent its response before.
    write_failed: bool,
    /// Since when the gateway has been waiting for the upstream without any progress; `None` while it does not wait.
    waiting_since: Option<Instant>,
    /// How the response allows to keep the connection; `None` if it may not be used again.
    keep_alive: Option<KeepAlive>,
}

impl Exchange {
    pub(crate) fn new(connection: Box<Connection>, upload: Upload, method: Method) -> Self {
        Self { connection, upload, method, interim: 0, write_failed: false, waiting_since: None, keep_alive: None }
    }

    /// Writes the request until the response's head is read. `timeout` is the longest time in which the upstream takes no
    /// byte of the request, or has all of it and does not respond. The time in which the client sends does not count.
    pub(crate) async fn response(&mut self, timeout: Duration) -> Result<ResponseHead, ProxyError> {
        poll_fn(|cx| {
            if let Poll::Ready(result) = self.poll_head(cx) {
                return Poll::Ready(result);
            }
            ready!(self.poll_timeout(timeout, cx));
            let error =
                if self.upload.has_unwritten() { ProxyError::WriteTimeout } else { ProxyError::ResponseTimeout };
            Poll::Ready(Err(error))
        })
        .await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, ProxyError>> {
        self.write(cx)?;
        loop {
            if !self.connection.read.is_empty() {
                // These bytes were sent before the request, so they belong to an earlier one.
                if self.connection.reused && !self.upload.has_begun() {
                    return Poll::Ready(Err(UpstreamFault::Unrequested.into()));
                }
                match ResponseHead::take(&mut self.connection.read, &self.method)? {
                    Some(head) if head.is_interim() => {
                        self.interim += 1;
                        if self.interim > MAX_INTERIM {
                            return Poll::Ready(Err(UpstreamFault::Interim.into()));
                        }
                        continue;
                    }
                    Some(head) => {
                        self.keep_alive = head.keep_alive;
                        self.waiting_since = None;
                        return Poll::Ready(Ok(head));
                    }
                    None => {}
                }
            }
            let is_empty = self.connection.read.is_empty();
            if ready!(self.connection.poll_read(cx))? == 0 {
                let fault = if is_empty { UpstreamFault::Closed } else { UpstreamFault::Incomplete };
                return Poll::Ready(Err(fault.into()));
            }
        }
    }

    /// Is ready when the gateway has been waiting for the upstream for this long.
    fn poll_timeout(&mut self, timeout: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waits_for_upstream() {
            self.waiting_since = None;
            return Poll::Pending;
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        self.connection.timer.poll(since + timeout, cx)
    }

    /// Whether the next step is the upstream's: it has the whole request, or does not take the bytes that are there.
    fn waits_for_upstream(&self) -> bool {
        self.write_failed || self.upload.is_done() || self.upload.has_unwritten()
    }

    /// Whether the request may be written again on another connection after this error: the upstream broke the connection,
    /// and it has not seen the request or may see it twice.
    pub(crate) fn may_repeat(&self, error: &ProxyError, idempotent: bool) -> bool {
        matches!(error, ProxyError::Broken(fault) if fault.is_broken_connection()) && self.upload.may_repeat(idempotent)
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

    /// The next part of the response's body. The rest of the request is written meanwhile. `idle_timeout` is the longest
    /// time in which the upstream neither sends a part nor takes a byte of the request, if there is a limit.
    pub(crate) fn poll_body(
        &mut self,
        framing: &mut Framing,
        idle_timeout: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ProxyError>>> {
        if let Poll::Ready(part) = self.poll_part(framing, cx) {
            // The next wait begins when the client asks for more.
            self.waiting_since = None;
            return Poll::Ready(part);
        }
        let Some(idle_timeout) = idle_timeout else { return Poll::Pending };
        ready!(self.poll_timeout(idle_timeout, cx));
        Poll::Ready(Some(Err(ProxyError::BodyTimeout)))
    }

    fn poll_part(&mut self, framing: &mut Framing, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        self.write(cx)?;
        loop {
            match framing.next(&mut self.connection.read).map_err(ProxyError::from)? {
                BodyPart::Data(data) => return Poll::Ready(Some(Ok(data))),
                BodyPart::End => return Poll::Ready(None),
                BodyPart::More => {}
            }
            if ready!(self.connection.poll_read(cx))? == 0 {
                let is_end = framing.ends_with_connection();
                return Poll::Ready(if is_end { None } else { Some(Err(UpstreamFault::Incomplete.into())) });
            }
        }
    }

    /// Rules out another request on the connection, whatever the response says.
    pub(crate) fn forbid_reuse(&mut self) {
        self.keep_alive = None;
    }

    /// The connection after the response, and how it may be kept, if it may be used for another request.
    pub(crate) fn into_reusable(self) -> Option<(Box<Connection>, KeepAlive)> {
        let Self { mut connection, upload, keep_alive, write_failed, .. } = self;
        // Bytes after the response belong to no request of ours.
        let keep_alive = keep_alive.filter(|_| !write_failed && upload.is_done() && connection.read.is_empty())?;
        connection.write = upload.into_buffer();
        Some((connection, keep_alive))
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
        if self.write_failed || self.upload.is_done() {
            return Ok(());
        }
        let polled = self.upload.poll(&mut self.connection.stream, cx);
        if self.upload.take_progress() {
            self.waiting_since = None;
        }
        match polled {
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

    use portcullis_gate::InboundBody;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::super::RequestHead;
    use super::*;
    use crate::upstreams::Target;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// A connection whose upstream has sent these bytes and has then reset it.
    async fn reset_after(sent: &[u8]) -> Box<Connection> {
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
        let mut head = exchange.response(TIMEOUT).await.expect("it was sent before the reset");
        assert_eq!(head.status, 413);
        assert_eq!(exchange.whole(&mut head.framing).expect("it is short"), "no");
        assert!(exchange.into_reusable().is_none());
    }

    #[tokio::test]
    async fn an_unseen_request_may_be_repeated_whatever_its_method() {
        let mut exchange = Exchange::new(reset_after(b"").await, post(), Method::POST);
        let error = exchange.response(TIMEOUT).await.expect_err("it was reset");
        assert!(exchange.may_repeat(&error, false), "{error:?}");
    }

    #[tokio::test]
    async fn bytes_that_came_before_the_request_are_no_response() {
        let mut connection = reset_after(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong").await;
        connection.reused = true;
        let mut exchange = Exchange::new(connection, post(), Method::POST);
        let error = exchange.response(TIMEOUT).await.expect_err("nothing was written");
        assert!(matches!(error, ProxyError::Broken(UpstreamFault::Unrequested)), "{error:?}");
        assert!(exchange.may_repeat(&error, false));
    }
}
