//! The shared store on real servers: one server, TLS, Sentinel and a cluster, and with each of them away.

mod connecting;
mod connection;
mod diagnosis;
mod layouts;
mod limits;
mod notifier;
mod outages;
mod sessions;
