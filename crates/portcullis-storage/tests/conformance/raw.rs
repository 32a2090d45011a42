//! A connection of the test's own, for statements that the Store does not offer.

use portcullis_model::Timestamp;
use portcullis_storage::DatabaseUrl;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};

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

    /// Runs statements and returns how many rows they changed.
    pub(crate) async fn run(&mut self, text: &str) -> u64 {
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(on) => on.execute(sql).await.expect("runs").rows_affected(),
            Self::Postgres(on) => on.execute(sql).await.expect("runs").rows_affected(),
        }
    }

    /// Runs a query whose only row holds one number.
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

    /// Returns SQLite's plan of a statement. SQLite estimates from the bound values how many rows match; each parameter
    /// is bound to the present time, after which there are few rows, as in the use cases.
    pub(crate) async fn sqlite_plan(&mut self, text: &str, now: Timestamp) -> Vec<String> {
        let Self::Sqlite(on) = self else { panic!("the connection is not to SQLite") };
        let parameters = (1..).take_while(|n| text.contains(&format!("${n}"))).count();
        let now = now.to_rfc3339();
        let mut query = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}")));
        for _ in 0..parameters {
            query = query.bind(&now);
        }
        on.fetch_all(query).await.expect("explains").iter().map(|row| row.get("detail")).collect()
    }
}
