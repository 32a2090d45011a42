//! Reads the users of the program that Portcullis replaces, from its PostgreSQL table and in one consistent snapshot.

use crate::engine::connect;
use crate::engine::connection::Connection;
use crate::engine::error::StoreError;
use crate::engine::open_error::OpenError;
use crate::engine::options::StoreOptions;
use crate::engine::row::Row;
use crate::engine::statement::{Runner, Sql};

/// Another program's table, in a snapshot that lasts until this value is dropped.
pub struct ForeignTable {
    runner: Runner,
    connection: Connection,
    /// The table's name, quote_identifier.
    table: String,
    columns: Vec<ForeignColumn>,
}

/// A column of another program's table.
#[derive(Clone, Debug)]
struct ForeignColumn {
    name: String,
    is_list: bool,
}

/// A cursor over chosen columns of that table.
pub struct ForeignUsers {
    runner: Runner,
    connection: Connection,
    total: u64,
    width: usize,
}

const BEGIN: &str = "SET TIME ZONE 'UTC'; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
static COLUMNS: Sql = Sql::select(
    "foreign_users",
    "SELECT CAST(a.attname AS TEXT) AS name, t.typcategory = 'A' AS is_list \
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
     WHERE a.attrelid = CAST($1 AS REGCLASS) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
);
static COUNT: Sql = Sql::select("foreign_users", "");
static FETCH: Sql = Sql::select("foreign_users", "");

impl ForeignTable {
    /// Opens a table (`users` or `schema.users`) of the database in the options.
    pub async fn open(options: &StoreOptions, table: &str) -> Result<Self, OpenError> {
        let mut connection = Box::pin(connect::open_any_postgres(options)).await?;
        if !connection.has_session() {
            return Err(OpenError::NeedsSession { address: options.url.to_string() });
        }
        let runner = connect::runner(options);
        let table = quoted_table(table);
        let begun = async {
            runner.script(&mut connection, "BEGIN", "foreign_users", BEGIN).await?;
            let rows = runner.all(&mut connection, &COLUMNS, vec![table.as_str().into()]).await?;
            let column = |row: &Row| Ok(ForeignColumn { name: row.get("name")?, is_list: row.get("is_list")? });
            rows.iter().map(column).collect::<Result<Vec<_>, StoreError>>()
        };
        let columns = begun.await.map_err(|source: StoreError| OpenError::ForeignTable { source })?;
        Ok(Self { runner, connection, table, columns })
    }

    /// Returns the names of the table's columns, in their order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Opens a cursor over these columns, before the first row. The rows come in the order of the columns `order`.
    pub async fn read(mut self, columns: &[&str], order: &[&str]) -> Result<ForeignUsers, OpenError> {
        let chosen = columns.iter().filter_map(|name| self.columns.iter().find(|column| column.name == *name));
        let list: Vec<String> = chosen.enumerate().map(|(n, column)| column.as_text(n)).collect();
        let order: Vec<String> = order.iter().map(|name| quote_identifier(name)).collect();
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
        let cursor =
            format!("DECLARE foreign_users NO SCROLL CURSOR FOR SELECT {} FROM {}{order}", list.join(", "), self.table);
        let count = COUNT.with_text(format!("SELECT count(*) AS n FROM {}", self.table));
        let (runner, connection) = (&self.runner, &mut self.connection);
        let opened = async {
            let counted = runner.all(connection, &count, vec![]).await?;
            runner.script(connection, "SELECT", "foreign_users", &cursor).await?;
            counted.first().map_or(Ok(0), |row| row.count("n"))
        };
        let total = opened.await.map_err(|source: StoreError| OpenError::ForeignTable { source })?;
        Ok(ForeignUsers { runner: self.runner, connection: self.connection, total, width: list.len() })
    }
}

impl ForeignColumn {
    /// Returns the expression that reads the column as text; the members of a list are separated by spaces.
    fn as_text(&self, n: usize) -> String {
        let name = quote_identifier(&self.name);
        match self.is_list {
            true => format!("array_to_string({name}, ' ') AS c{n}"),
            false => format!("CAST({name} AS TEXT) AS c{n}"),
        }
    }
}

impl ForeignUsers {
    /// Returns the number of rows.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the next rows, each with the values of the chosen columns as text; none at the end.
    pub async fn next(&mut self, limit: u32) -> Result<Vec<Vec<Option<String>>>, StoreError> {
        let fetch = FETCH.with_text(format!("FETCH {limit} FROM foreign_users"));
        let rows = self.runner.all(&mut self.connection, &fetch, vec![]).await?;
        rows.iter().map(|row| (0..self.width).map(|n| row.get(&format!("c{n}"))).collect()).collect()
    }
}

/// Quotes a table's name. A full stop separates schema and table.
fn quoted_table(table: &str) -> String {
    table.splitn(2, '.').map(quote_identifier).collect::<Vec<_>>().join(".")
}

/// Quotes a name, so that it is nothing but a name whatever it contains.
fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\"").replace('\0', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_name_is_only_a_name() {
        assert_eq!(quoted_table("users"), "\"users\"");
        assert_eq!(quoted_table("auth.users"), "\"auth\".\"users\"");
        assert_eq!(quoted_table("users\"; DROP TABLE users; --"), "\"users\"\"; DROP TABLE users; --\"");
    }
}
