//! What replicas share, on real servers: alone, over TLS, behind Sentinel, as a cluster; and with each of them gone.

mod bed;
mod bell;
mod connecting;
mod layouts;
mod limits;
mod outages;
mod sessions;
