//! The statements that copy a table, made from the columns that the migrations declare.

use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::value::Value;
use crate::migrate::schema::{Column, Kind, Table};

impl Table {
    /// Returns a SELECT of the next rows. With `has_key` its parameters are the key of the last row read.
    pub(crate) fn page(&self, has_key: bool, limit: usize) -> String {
        let keys = self.names(self.keys);
        let condition = if has_key {
            let parameters: Vec<String> = (1..=self.keys).map(|n| format!("${n}")).collect();
            format!("WHERE ({keys}) > ({}) ", parameters.join(", "))
        } else {
            String::new()
        };
        let columns = self.names(self.columns.len());
        format!("SELECT {columns} FROM {} {condition}ORDER BY {keys} LIMIT {limit}", self.name)
    }

    /// Returns an INSERT of this many rows.
    pub(crate) fn insert(&self, dialect: Dialect, rows: usize) -> String {
        let width = self.columns.len();
        let row = |row: usize| {
            let parameters: Vec<String> = (1..=width).map(|column| dialect.parameter(row * width + column)).collect();
            format!("({})", parameters.join(", "))
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        // Without it PostgreSQL would number the rows itself.
        let overriding = match (self.sequence, dialect) {
            (Some(_), Dialect::Postgres) => "OVERRIDING SYSTEM VALUE ",
            _ => "",
        };
        format!("INSERT INTO {} ({}) {overriding}VALUES {}", self.name, self.names(width), rows.join(", "))
    }

    /// Reads a row of [`page`](Self::page).
    pub(crate) fn read(&self, row: &Row) -> Result<Vec<Value>, StoreError> {
        let read = |column: &Column| {
            let name = column.name;
            Ok(match column.kind {
                Kind::Boolean => Value::Boolean(row.get(name)?),
                Kind::BigInt => Value::BigInt(row.get(name)?),
                Kind::Text => Value::Text(row.get(name)?),
                Kind::Bytes => Value::Bytes(row.get(name)?),
                Kind::Uuid => Value::Uuid(row.get(name)?),
                Kind::Timestamp => Value::Time(row.read(name)?),
            })
        };
        self.columns.iter().map(read).collect()
    }

    pub(crate) fn key_of(&self, row: &[Value]) -> Vec<Value> {
        row[..self.keys].to_vec()
    }

    /// Returns the types of the key's columns.
    pub(crate) fn key_kinds(&self) -> impl Iterator<Item = Kind> {
        self.columns[..self.keys].iter().map(|column| column.kind)
    }

    fn names(&self, count: usize) -> String {
        self.columns[..count].iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }
}
