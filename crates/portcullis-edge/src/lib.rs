//! The edge: everything a socket meets before there is a request.
//!
//! It opens the listener, limits connections, detects the protocol, reads the PROXY protocol, serves HTTP/1.1 and
//! HTTP/2 with strict framing, times slow clients out and closes connections so that the last response arrives. Each
//! request goes to a [`Handler`], which the binary implements. The edge knows no SQL, no identity and no settings file.

mod connection_limit;
mod connection_timers;
mod handler;
mod http1;
mod http2;
mod keep_alive;
mod lingering_close;
mod listener;
mod open_files;
mod protocol_detection;
mod proxy_protocol;
mod server;
mod startup;
mod stream_end;

pub use connection_limit::ConnectionLimit;
pub use connection_timers::ConnectionTimeouts;
pub use handler::Handler;
#[cfg(feature = "fuzzing")]
pub use http1::differential::check_connection;
pub use http2::MAX_STREAMS as HTTP2_MAX_STREAMS;
pub use listener::{ListenError, listen, listen_apart};
pub use open_files::OpenFiles;
pub use proxy_protocol::LOCAL_HEADER;
pub use server::Server;
pub use startup::StartupServer;
pub use stream_end::EndsWith;

/// The largest request head in bytes, from the request line to the empty line after the last field. Larger heads are
/// refused with 431. HTTP/2 counts the fields as RFC 9113 §6.5.2 does.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
