//! A connection of the test's own, for what the Store does not offer.

use portcullis_storage::DatabaseUrl;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use uuid::Uuid;

pub(crate) enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Raw {
    pub(crate) async fn open(url: &DatabaseUrl) -> Self {
        match url {
            DatabaseUrl::Sqlite { path } => {
                let options = SqliteConnectOptions::new().filename(path);
                Self::Sqlite(options.connect().await.expect("the database opens"))
            }
            DatabaseUrl::Postgres { url } => {
                Self::Postgres(PgConnection::connect(url.expose()).await.expect("the database opens"))
            }
        }
    }

    /// Runs statements and gives how many rows they changed.
    pub(crate) async fn run(&mut self, text: &str) -> u64 {
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(on) => on.execute(sql).await.expect("runs").rows_affected(),
            Self::Postgres(on) => on.execute(sql).await.expect("runs").rows_affected(),
        }
    }

    /// Runs a query whose one row holds one number.
    pub(crate) async fn number(&mut self, text: &str) -> i64 {
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(on) => on.fetch_one(sql).await.expect("a row").get(0),
            Self::Postgres(on) => on.fetch_one(sql).await.expect("a row").get(0),
        }
    }

    /// Runs a query whose rows hold one text each.
    pub(crate) async fn texts(&mut self, text: &str) -> Vec<String> {
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(on) => on.fetch_all(sql).await.expect("rows").iter().map(|row| row.get(0)).collect(),
            Self::Postgres(on) => on.fetch_all(sql).await.expect("rows").iter().map(|row| row.get(0)).collect(),
        }
    }

    /// An id as a literal.
    pub(crate) fn id(&self, id: Uuid) -> String {
        match self {
            Self::Sqlite(_) => format!("X'{}'", id.simple()),
            Self::Postgres(_) => format!("'{id}'"),
        }
    }
}
