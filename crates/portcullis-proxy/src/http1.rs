//! An HTTP/1.1 client for upstreams (RFC 9112): it writes requests and reads responses.
//!
//! The task that forwards a request polls all of it. A request costs no second task, no channel, and no map of the header
//! fields that it sends.

mod chunked;
mod exchange;
mod framing;
mod keep_alive;
mod request_head;
mod response_head;
mod upload;

pub(crate) use exchange::Exchange;
pub(crate) use framing::Framing;
pub(crate) use request_head::RequestHead;
pub(crate) use response_head::ResponseHead;
pub(crate) use upload::Upload;
