//! Jobs and their leases, on SQLite and on a private PostgreSQL.

mod database_loss;
mod documentation;
mod failures;
mod housekeeping;
mod leases;
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
