//! The session cache and the revocation feed, on SQLite and on a private PostgreSQL.

mod api_keys;
mod cache;
mod explorer;
mod feed;
mod feed_independence;
mod key_look_ups;
mod last_seen;
mod late_commits;
mod permissions;
mod test_database;

/// Makes two tests of each function, one for each engine.
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
