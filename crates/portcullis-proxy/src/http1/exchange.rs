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
