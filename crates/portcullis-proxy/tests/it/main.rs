//! The data plane between a real client and real upstreams, behind a real gate.

mod capacity;
mod connections;
mod gateway;
mod headers;
mod peer;
mod responses;
mod sessions;
mod streaming;
mod tunnels;
