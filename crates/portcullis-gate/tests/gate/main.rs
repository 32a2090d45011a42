//! The whole gate over real connections: what a client can make it do, and what
//! stands on every answer.

mod answers;
mod bed;
mod client;
mod cors;
mod credentials;
mod cross_site;
mod csrf;
mod csrf_bodies;
mod explain;
mod framing;
mod limits;
mod order;
mod paths;
mod people;
mod policy;
mod series;
mod swap;
mod versions;
