//! What several test suites share: private servers (on loopback, in temporary folders, stopped with the test), and builders
//! of the data that tests start from.

#![expect(clippy::print_stderr, reason = "the test runner shows what a failed test printed")]

mod app;
mod database;
mod engine;
mod events;
mod fake_aws;
mod fake_vault;
mod http_fake;
mod known_sessions;
mod loopback;
mod pgbouncer;
mod postgres;
mod raw_connection;
mod redis;
mod relay;
mod session;
mod smtp;
mod stopwatch;

pub use app::{PASSWORD, TestApp, TestAppBuilder, registration};
pub use database::PrivateDatabase;
pub use engine::{database_of, dump_of};
pub use events::{EventListener, field_text};
pub use fake_aws::FakeAws;
pub use fake_vault::FakeVault;
pub use known_sessions::KnownSessions;
pub use loopback::{free_port, wait_until_open};
pub use pgbouncer::PgBouncer;
pub use postgres::PrivatePostgres;
pub use raw_connection::RawConnection;
pub use redis::{PrivateCluster, PrivateRedis, PrivateSentinel};
pub use relay::Relay;
pub use session::{SessionBuilder, session};
pub use smtp::PrivateSmtp;
pub use stopwatch::Stopwatch;
