//! Drives the real binary over real sockets.
#![expect(clippy::print_stderr, reason = "what a test measured is shown beside its outcome")]

mod bad_input;
mod client;
mod compose;
mod connections;
mod costs;
mod csrf;
mod documents;
mod durability;
mod endpoints;
mod framing;
mod gateway;
mod http2;
mod http2_limits;
mod identity;
mod jobs;
mod load;
mod logging;
mod mails;
mod metrics;
mod migrating;
mod moving;
mod once;
mod operators;
mod outages;
mod passwords;
mod people;
mod proxied;
mod raw_http2;
mod reloading;
mod replicas;
mod rotation;
mod security_headers;
mod slow_clients;
mod start;
