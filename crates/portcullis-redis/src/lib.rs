//! Limits, session copies and wake-ups shared by replicas over Redis or Valkey: the only Redis.
//!
//! Nothing here is the truth, and nothing here is waited for long: while Redis is away, every call says so at once,
//! and the replicas go on with SQL and with limits of their own.

mod connect;
mod limits;
mod link;
mod notifier;
mod script;
mod sessions;
mod url;

pub use connect::{ConnectError, Redis, RedisOptions};
pub use url::RedisUrl;
