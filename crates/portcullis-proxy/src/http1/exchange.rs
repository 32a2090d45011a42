//! One request and its answer on a connection.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Method;
use tokio::net::TcpStream;

use super::chunked::Next;
use super::upload::UploadFault;
use super::{Answer, Broken, Framing, Upload};
use crate::error::ProxyError;
use crate::pool::Connection;

/// A request under way.
pub(crate) struct Exchange {
    connection: Connection,
    upload: Upload,
    method: Method,
    /// Whether anything was read.
    heard: bool,
    /// Whether the upstream takes no more of the request.
    deaf: bool,
    /// Whether the answer lets the connection carry another request.
    keeps_alive: bool,
}

impl Exchange {
    pub(crate) fn new(connection: Connection, upload: Upload, method: Method) -> Self {
        Self { connection, upload, method, heard: false, deaf: false, keeps_alive: false }
    }

    /// Writes the request until the answer's head is read.
    pub(crate) async fn answer(&mut self) -> Result<Answer, ProxyError> {
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, ProxyError>> {
        self.write(cx)?;
        loop {
            if !self.connection.read.is_empty() {
                match Answer::take(&mut self.connection.read, &self.method)? {
                    Some(answer) if answer.is_interim() => continue,
                    Some(answer) => {
                        self.keeps_alive = answer.keeps_alive;
                        return Poll::Ready(Ok(answer));
                    }
                    None => {}
                }
            }
            if ready!(self.connection.poll_read(cx))? == 0 {
                return Poll::Ready(Err(Broken::Closed.into()));
            }
            self.heard = true;
        }
    }

    /// Whether the request may be written once more, on another connection: this one was kept from before, and its
    /// upstream, which may have closed it just as we wrote, has done nothing yet, or nothing that matters.
    pub(crate) fn may_repeat(&mut self, idempotent: bool) -> bool {
        self.connection.reused && !self.heard && self.upload.rewind(idempotent)
    }

    /// Begins once more, on another connection.
    pub(crate) fn repeat_on(&mut self, connection: Connection) {
        self.connection = connection;
        self.deaf = false;
    }

    /// Whether all of the request is written.
    pub(crate) fn is_written(&self) -> bool {
        self.upload.is_done()
    }

    /// The whole body, if all of it has come with its head.
    pub(crate) fn whole(&mut self, framing: &mut Framing) -> Option<Bytes> {
        framing.whole(&mut self.connection.read)
    }

    /// The next piece of the answer's body, while what is left of the request is written.
    pub(crate) fn poll_body(
        &mut self,
        framing: &mut Framing,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ProxyError>>> {
        self.write(cx)?;
        loop {
            match framing.next(&mut self.connection.read).map_err(ProxyError::from)? {
                Next::Data(data) => return Poll::Ready(Some(Ok(data))),
                Next::End => return Poll::Ready(None),
                Next::More => {}
            }
            if ready!(self.connection.poll_read(cx))? == 0 {
                let end = if framing.ends_with_connection() { None } else { Some(Err(Broken::Closed.into())) };
                return Poll::Ready(end);
            }
        }
    }

    /// Whatever the answer says, the connection carries no other request.
    pub(crate) fn keep_no_connection(&mut self) {
        self.keeps_alive = false;
    }

    /// The connection, once the answer is over, if it may carry another request.
    pub(crate) fn into_reusable(self) -> Option<Connection> {
        let Self { mut connection, upload, keeps_alive, deaf, .. } = self;
        // What came beyond the answer belongs to no request of ours.
        let usable = keeps_alive && !deaf && upload.is_done() && connection.read.is_empty();
        usable.then(|| {
            connection.write = upload.into_buffer();
            connection
        })
    }

    /// The stream and what was read from it beyond the answer's head: it speaks another protocol from here on.
    pub(crate) fn into_stream(self) -> (TcpStream, BytesMut) {
        (self.connection.stream, self.connection.read)
    }

    /// Writes what it can.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), ProxyError> {
        if self.deaf {
            return Ok(());
        }
        match self.upload.poll(&mut self.connection.stream, cx) {
            Poll::Ready(Err(UploadFault::Body(error))) => Err(error),
            Poll::Ready(Err(UploadFault::Connection(error))) => {
                // It may have answered before it stopped reading.
                tracing::debug!(%error, "an upstream takes no more of a request");
                self.deaf = true;
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
    use crate::pool::Pool;
    use crate::upstream::Target;

    /// A connection to an upstream that has said this, and has torn the connection down.
    async fn torn_down_after(said: &[u8]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let target = Target {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().expect("an address").port(),
            authority: http::HeaderValue::from_static("upstream"),
            connect_timeout: Duration::from_secs(5),
            pool: Pool::default(),
        };
        let mut connection = Connection::open(&target).await.expect("it listens");
        let (mut upstream, _) = listener.accept().await.expect("a connection");
        // Closing with something unread resets the connection.
        connection.stream.write_all(b"unread").await.expect("it is open");
        upstream.readable().await.expect("it has come");
        upstream.write_all(said).await.expect("it is open");
        drop(upstream);
        // Until the reset is here, so that not a byte can be written any more.
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
    async fn who_has_answered_need_not_read_on() {
        let connection = torn_down_after(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await;
        let mut exchange = Exchange::new(connection, post(), Method::POST);
        let mut answer = exchange.answer().await.expect("it was there before the end");
        assert_eq!(answer.status, 413);
        assert_eq!(exchange.whole(&mut answer.framing).expect("it is short"), "no");
        assert!(exchange.into_reusable().is_none());
    }

    #[tokio::test]
    async fn what_nobody_has_seen_of_a_request_is_written_once_more_whatever_its_method() {
        let mut exchange = Exchange::new(torn_down_after(b"").await, post(), Method::POST);
        assert!(matches!(exchange.answer().await, Err(ProxyError::Broken(_))));
        assert!(!exchange.may_repeat(false), "its connection was new");
        let mut connection = torn_down_after(b"").await;
        connection.reused = true;
        let mut exchange = Exchange::new(connection, post(), Method::POST);
        assert!(matches!(exchange.answer().await, Err(ProxyError::Broken(_))));
        assert!(exchange.may_repeat(false));
    }
}
