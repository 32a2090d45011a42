//! Private servers for tests. Everything listens on loopback, lives in a
//! temporary folder and ends with the test.
#![expect(clippy::print_stderr, reason = "the test runner shows what a failed test printed")]

mod app;
mod engine;
mod postgres;
mod redis;
mod smtp;
mod wire;

pub use app::{PASSWORD, TestApp, TestAppBuilder, free_port, person, wait_until_open};
pub use engine::{database_of, dump_of};
pub use postgres::PrivatePostgres;
pub use redis::{PrivateCluster, PrivateRedis, PrivateSentinel};
pub use smtp::PrivateSmtp;
pub use wire::Wire;
