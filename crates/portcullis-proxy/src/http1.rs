//! HTTP/1.1 with an upstream, as its client (RFC 9112): a request's head and body are written, an answer's read.
//!
//! Whoever carries a request polls all of it in its own task: a request costs no second task, no channel, and no map of
//! the header fields it sends.

mod answer;
mod chunked;
mod exchange;
mod framing;
mod request_head;
mod upload;

pub(crate) use answer::Answer;
pub(crate) use exchange::Exchange;
pub(crate) use framing::Framing;
pub(crate) use request_head::RequestHead;
pub(crate) use upload::Upload;

/// How an upstream broke the rules, or off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection ended where its answer did not.
    #[error("it closed the connection before its answer was complete")]
    Closed,
    /// The connection failed.
    #[error("the connection to it failed")]
    Connection(#[source] std::io::Error),
    /// The head cannot be read.
    #[error("its answer does not begin as HTTP/1.1 does")]
    Head(#[source] httparse::Error),
    /// The head is longer than is read.
    #[error("its answer's head is too large")]
    HeadTooLarge,
    /// A header field has a name or a value that no field may have.
    #[error("its answer has a header field that is none")]
    Field,
    /// Where the body ends cannot be told for certain.
    #[error("where its answer ends cannot be told: {0}")]
    Framing(&'static str),
    /// The chunks are not written as such.
    #[error("its answer's chunks cannot be read")]
    Chunk,
}
