//! One suite for both engines: every behaviour is shown on SQLite and on a private PostgreSQL.

mod audit;
mod bed;
mod costs;
mod feed;
mod idempotency;
mod keys;
mod odd_values;
mod opening;
mod outbox;
mod pool;
mod raw;
mod reference;
mod refresh;
mod schema;
mod sessions;
mod sign_in;
mod tokens;
mod users;

/// Makes two tests of each function, one an engine.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::bed::Bed::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::bed::Bed::postgres()).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;
