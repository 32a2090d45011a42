//! The interface between the edge and the rest of the gateway.

use std::error::Error;
use std::net::IpAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use portcullis_gate::Peer;

/// Responds to the requests that the edge reads. The binary implements it: the gate first, then the destination.
pub trait Handler: Send + Sync + 'static {
    /// Body of every response. An error in it closes the connection (HTTP/1.1) or resets the stream (HTTP/2), so that
    /// the client does not take the response for complete.
    type Body: Body<Data = Bytes, Error = Box<dyn Error + Send + Sync>> + Send + Unpin + 'static;

    /// Responds to one request. `client` is the socket's peer, or the client that the PROXY protocol names.
    ///
    /// A request whose head is faulty carries a [`HeadFault`](portcullis_gate::HeadFault) in its extensions and must be
    /// refused.
    ///
    /// `client` is a reference, because a larger value beside the request has the compiler copy the whole future, several
    /// kilobytes, when the request begins.
    ///
    /// The future must not panic, or all requests of an HTTP/2 connection end with it:
    /// [`catch_panic_in`](portcullis_telemetry::errors::catch_panic_in) turns a panic into a response.
    fn handle(&self, client: &Peer, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Responds to bytes that the HTTP parser rejected, with the 4xx status that the parser chose, and to a head that was
    /// not complete in time, with 408. The body must be complete: the edge writes it at once.
    fn respond_to_parse_error(&self, client: &Peer, status: StatusCode) -> Response<Self::Body>;

    /// Is told that the drain at the end of the process is over. Requests that are open now are dropped.
    fn drain_ends(&self);

    /// Whether `peer` is a trusted proxy: it may send a PROXY header, and its connections have no limit by address.
    fn trusts(&self, peer: IpAddr) -> bool;
}
