//! A connection of the test's own, for statements that the program does not offer.

use portcullis_model::Timestamp;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use uuid::Uuid;

/// A connection to a database of either engine. Each method panics when its statement fails.
pub enum RawConnection {
    /// To a SQLite file.
    Sqlite(SqliteConnection),
    /// To a PostgreSQL database.
    Postgres(PgConnection),
}

impl RawConnection {
    pub(crate) async fn open(url: &str) -> Self {
        Self::connect(url, false).await
    }

    /// Opens a connection to a database whose SQLite file need not exist.
    pub(crate) async fn create(url: &str) -> Self {
        Self::connect(url, true).await
    }

    async fn connect(url: &str, create: bool) -> Self {
        if let Some(path) = url.strip_prefix("sqlite://") {
            let options = SqliteConnectOptions::new().filename(path).create_if_missing(create);
            Self::Sqlite(options.connect().await.expect("the database opens"))
        } else {
            Self::Postgres(PgConnection::connect(url).await.expect("the database opens"))
        }
    }

    /// Runs statements and returns how many rows they changed.
    pub async fn run(&mut self, text: &str) -> u64 {
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(on) => on.execute(sql).await.expect("the statements run").rows_affected(),
            Self::Postgres(on) => on.execute(sql).await.expect("the statements run").rows_affected(),
        }
    }

    /// Runs a query whose only row holds one number.
    pub async fn number(&mut self, text: &str) -> i64 {
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(on) => on.fetch_one(sql).await.expect("a row").get(0),
            Self::Postgres(on) => on.fetch_one(sql).await.expect("a row").get(0),
        }
    }

    /// Runs a query whose rows hold one text each.
    pub async fn texts(&mut self, text: &str) -> Vec<String> {
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(on) => on.fetch_all(sql).await.expect("rows").iter().map(|row| row.get(0)).collect(),
            Self::Postgres(on) => on.fetch_all(sql).await.expect("rows").iter().map(|row| row.get(0)).collect(),
        }
    }

    /// Returns an id as a literal of the engine.
    pub fn id(&self, id: Uuid) -> String {
        match self {
            Self::Sqlite(_) => format!("X'{}'", id.simple()),
            Self::Postgres(_) => format!("'{id}'"),
        }
    }

    /// Returns an expression that makes a new id for each row.
    pub fn new_id(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "randomblob(16)",
            Self::Postgres(_) => "gen_random_uuid()",
        }
    }

    /// Returns an instant as a literal, as the driver would bind it.
    pub fn instant(&self, at: Timestamp) -> String {
        format!("'{}'", at.to_rfc3339())
    }
}
