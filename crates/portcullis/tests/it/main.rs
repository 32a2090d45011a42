//! Drives the real binary over real sockets.

mod bad_input;
mod client;
mod costs;
mod csrf;
mod documents;
mod durability;
mod identity;
mod load;
mod metrics;
mod outages;
mod proxied;
mod replicas;
mod start;
