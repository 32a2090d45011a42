//! One suite for both engines: each behaviour is shown on SQLite and on a private PostgreSQL.

mod audit;
mod backlogs;
mod builders;
mod costs;
mod documented_schema;
mod idempotency;
mod instance;
mod notifications;
mod odd_values;
mod one_time_tokens;
mod opening;
mod outbox;
mod password_changes;
mod pool;
mod pooler;
mod pruning;
mod query_plans;
mod raw;
mod refresh;
mod role_and_activity;
mod schema;
mod schemas;
mod server_checks;
mod session_bounds;
mod session_ending;
mod sessions;
mod sign_in_attempts;
mod signing_keys;
mod test_database;
mod transfer;
mod transfer_interference;
mod user_lists;
mod users;

/// Defines two tests for each function, one for each engine.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::test_database::TestDatabase::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::test_database::TestDatabase::postgres()).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;
