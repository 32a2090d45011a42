//! Drives the real binary over real sockets.
#![expect(clippy::print_stderr, reason = "what a test measured is shown beside its outcome")]

mod bad_input;
mod careful;
mod client;
mod compose;
mod costs;
mod csrf;
mod documents;
mod durability;
mod edge;
mod http2;
mod identity;
mod load;
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
mod start;
