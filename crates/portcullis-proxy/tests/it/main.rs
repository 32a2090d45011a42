//! The data plane between a real client and real upstreams, behind a real gate.

mod bad_upstreams;
mod capacity;
mod connections;
mod cors;
mod gateway;
mod headers;
mod kept_connections;
mod peer;
mod repeating;
mod responses;
mod rights;
mod sessions;
mod streaming;
mod timers;
mod tunnels;
