//! Rate limits, session copies and notices that replicas share over Redis or Valkey. No other crate knows Redis.
//!
//! The database remains the source of truth, and no call waits long: while Redis is away, every call fails at once, and
//! the replicas go on with the database and with limits of their own.

mod connect;
mod copy_mac;
mod diagnosis;
mod limits;
mod link;
mod notifier;
mod script;
mod sessions;
mod url;

pub use connect::{ConnectError, Redis, RedisOptions};
pub use diagnosis::diagnose;
pub use url::RedisUrl;
