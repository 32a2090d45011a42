//! The tables and columns that the migrations create, read from their SQL, so that no file repeats them.
//!
//! Reads only the form in which our migrations are written: one column, constraint or action per line, types in braces.

use serde::{Deserialize, Serialize};

use super::Migration;

/// A table as the newest schema has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The table's name.
    pub name: &'static str,
    /// The columns of the primary key come first.
    pub columns: Vec<Column>,
    /// Number of columns in the primary key.
    pub(crate) keys: usize,
    /// The column that the engine numbers itself.
    pub(crate) sequence: Option<&'static str>,
    /// The columns besides `columns` whose values the engine sets and which mean nothing in another database.
    pub(crate) assigned: Vec<&'static str>,
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The column's name.
    pub name: &'static str,
    /// The type of its values.
    pub kind: Kind,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A truth value.
    Boolean,
    /// A signed number of 64 bits.
    BigInt,
    /// A text in UTF-8.
    Text,
    /// Bytes.
    Bytes,
    /// An id.
    Uuid,
    /// An instant, to the microsecond.
    Timestamp,
}

/// Returns the tables that these migrations leave, in the order of their creation: a table that refers to another one
/// comes after it.
pub(crate) fn tables(migrations: &[Migration]) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in migrations.iter().flat_map(|migration| migration.up.lines()).map(str::trim) {
        if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            let name = first_word(rest);
            tables.push(Table { name, columns: Vec::new(), keys: 0, sequence: None, assigned: Vec::new() });
        } else if let Some(rest) = line.strip_prefix("ALTER TABLE ") {
            if let Some((table, column)) = rest.split_once(" ADD COLUMN ") {
                let table = tables.iter_mut().find(|known| known.name == table).expect("it was created before");
                match column.split_once(" {transaction_id}") {
                    Some((name, _)) => table.assigned.push(name),
                    None => table.columns.extend(column_of(column)),
                }
            }
        } else if let Some(rest) = line.strip_prefix("DROP TABLE ") {
            tables.retain(|table| table.name != first_word(rest));
        } else if let Some(table) = tables.last_mut() {
            add_line(table, line);
        }
    }
    tables
}

/// Adds what a line inside CREATE TABLE declares.
fn add_line(table: &mut Table, line: &'static str) {
    if let Some((_, key)) = line.strip_prefix("CONSTRAINT ").and_then(|rest| rest.split_once(" PRIMARY KEY (")) {
        let key = key.trim_end_matches([')', ',']);
        table.keys = key.split(", ").count();
        assert!(
            key.split(", ").eq(table.columns.iter().take(table.keys).map(|column| column.name)),
            "{}: the key's columns come first",
            table.name
        );
    } else if let Some(column) = column_of(line) {
        if line.contains(" PRIMARY KEY") || line.contains("{sequence}") {
            assert!(table.columns.is_empty(), "{}: the key's column comes first", table.name);
            table.keys = 1;
        }
        if line.contains("{sequence}") {
            table.sequence = Some(column.name);
        }
        table.columns.push(column);
    }
}

/// Reads `name {type} …`; `None` for a line of another form.
fn column_of(line: &'static str) -> Option<Column> {
    let (name, rest) = line.split_once(" {")?;
    let kind = match rest.split_once('}')?.0 {
        "boolean" => Kind::Boolean,
        "bigint" | "sequence" => Kind::BigInt,
        "text" => Kind::Text,
        "bytes" => Kind::Bytes,
        "uuid" => Kind::Uuid,
        "timestamp" => Kind::Timestamp,
        _ => return None,
    };
    Some(Column { name, kind })
}

fn first_word(text: &'static str) -> &'static str {
    text.split([' ', ';']).next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: Migration = Migration {
        version: 1,
        name: "create",
        up: "-- things: Things.\nCREATE TABLE things (\n  id {uuid} NOT NULL CONSTRAINT things_id PRIMARY KEY,\n  \
             name {text}\n){often_updated};\nCREATE INDEX things_name ON things (name);\n\
             CREATE TABLE log (\n  seq {sequence},\n  at {timestamp} NOT NULL\n){strict};\n\
             CREATE TABLE pairs (\n  a {uuid},\n  b {text},\n  CONSTRAINT pairs_key PRIMARY KEY (a, b)\n){strict};",
        down: "",
        runs_since: 1,
    };
    const CHANGE: Migration = Migration {
        version: 2,
        name: "change",
        up: "ALTER TABLE things ADD COLUMN hash {bytes};\nALTER TABLE log ADD COLUMN writer {transaction_id};\n\
             DROP TABLE pairs;",
        down: "",
        runs_since: 1,
    };

    #[test]
    fn tables_are_read_from_create_table() {
        let tables = tables(&[CREATE]);
        let keys: Vec<_> = tables.iter().map(|table| (table.name, table.keys, table.sequence)).collect();
        assert_eq!(keys, [("things", 1, None), ("log", 1, Some("seq")), ("pairs", 2, None)]);
        assert_eq!(tables[1].columns[1], Column { name: "at", kind: Kind::Timestamp });
    }

    #[test]
    fn later_migrations_add_columns_and_drop_tables() {
        let tables = tables(&[CREATE, CHANGE]);
        assert_eq!(tables.len(), 2);
        let names: Vec<_> = tables[0].columns.iter().map(|column| column.name).collect();
        assert_eq!(names, ["id", "name", "hash"]);
        assert_eq!((tables[1].columns.len(), &tables[1].assigned[..]), (2, &["writer"][..]), "it is not copied");
    }
}
