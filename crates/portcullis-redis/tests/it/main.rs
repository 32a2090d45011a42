//! What replicas share, on real servers: alone, over TLS, behind Sentinel, as a cluster; and with each of them gone.

mod bed;
mod connecting;
mod layouts;
mod limits;
mod notifier;
mod outages;
mod sessions;
