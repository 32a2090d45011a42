//! Reads the users of the program that Portcullis replaces, from its PostgreSQL table and in one consistent snapshot.

use crate::engine::connect;
use crate::engine::connection::Connection;
use crate::engine::error::StoreError;
use crate::engine::open_error::OpenError;
use crate::engine::options::StoreOptions;
use crate::engine::row::Row;
use crate::engine::statement::{Runner, Sql};

/// A row of that table, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignUser {
    /// Column `id`.
    pub id: Option<String>,
    /// Column `email`.
    pub email: Option<String>,
    /// Column `username`.
    pub username: Option<String>,
    /// Column `"firstName"`.
    pub first_name: Option<String>,
    /// Column `"lastName"`.
    pub last_name: Option<String>,
    /// Column `password`, which holds a hash.
    pub password: Option<String>,
    /// Column `role`.
    pub role: Option<String>,
    /// Column `"isActive"`.
    pub is_active: Option<bool>,
    /// Column `"isEmailVerified"`.
    pub is_email_verified: Option<bool>,
    /// Column `"createdAt"`, in UTC.
    pub created_at: Option<String>,
}

/// A cursor over that table.
pub struct ForeignUsers {
    runner: Runner,
    connection: Connection,
    total: u64,
}

const BEGIN: &str = "SET TIME ZONE 'UTC'; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
static COUNT: Sql = Sql::select("foreign_users", "");
static FETCH: Sql = Sql::select("foreign_users", "");

impl ForeignUsers {
    /// Opens a cursor before the first row of a table (`users` or `schema.users`) of the database in the options.
    pub async fn open(options: &StoreOptions, table: &str) -> Result<Self, OpenError> {
        let mut connection = Box::pin(connect::open_any_postgres(options)).await?;
        let runner = connect::runner(options);
        let table = quoted(table);
        let begun = async {
            runner.script(&mut connection, "BEGIN", "foreign_users", BEGIN).await?;
            let count = COUNT.with_text(format!("SELECT count(*) AS n FROM {table}"));
            let counted = runner.all(&mut connection, &count, vec![]).await?;
            let total = counted.first().map_or(Ok(0), |row| row.count("n"))?;
            let cursor = format!(
                "DECLARE foreign_users NO SCROLL CURSOR FOR SELECT CAST(id AS TEXT) AS id, CAST(email AS TEXT) AS email, \
                 CAST(username AS TEXT) AS username, CAST(\"firstName\" AS TEXT) AS first_name, \
                 CAST(\"lastName\" AS TEXT) AS last_name, CAST(password AS TEXT) AS password, \
                 CAST(role AS TEXT) AS role, \"isActive\" AS is_active, \"isEmailVerified\" AS is_email_verified, \
                 CAST(\"createdAt\" AS TEXT) AS created_at FROM {table} ORDER BY \"createdAt\", id"
            );
            runner.script(&mut connection, "SELECT", "foreign_users", &cursor).await?;
            Ok(total)
        };
        let total = begun.await.map_err(|source: StoreError| OpenError::ForeignTable { source })?;
        Ok(Self { runner, connection, total })
    }

    /// Returns the number of rows.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the next rows, none at the end.
    pub async fn next(&mut self, limit: u32) -> Result<Vec<ForeignUser>, StoreError> {
        let fetch = FETCH.with_text(format!("FETCH {limit} FROM foreign_users"));
        let rows = self.runner.all(&mut self.connection, &fetch, vec![]).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<ForeignUser, StoreError> {
    Ok(ForeignUser {
        id: row.get("id")?,
        email: row.get("email")?,
        username: row.get("username")?,
        first_name: row.get("first_name")?,
        last_name: row.get("last_name")?,
        password: row.get("password")?,
        role: row.get("role")?,
        is_active: row.get("is_active")?,
        is_email_verified: row.get("is_email_verified")?,
        created_at: row.get("created_at")?,
    })
}

/// Quotes a table's name, so that it is nothing but a name whatever it contains. A full stop separates schema and table.
fn quoted(table: &str) -> String {
    let part = |part: &str| format!("\"{}\"", part.replace('"', "\"\"").replace('\0', ""));
    table.splitn(2, '.').map(part).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_name_is_only_a_name() {
        assert_eq!(quoted("users"), "\"users\"");
        assert_eq!(quoted("auth.users"), "\"auth\".\"users\"");
        assert_eq!(quoted("users\"; DROP TABLE users; --"), "\"users\"\"; DROP TABLE users; --\"");
    }
}
