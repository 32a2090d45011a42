//! Declares which columns a struct is read from and written to: once for the SELECT, for reading the row and for the
//! INSERT.
//!
//! ```ignore
//! columns! {
//!     // Implements `FromRow` (`User::COLUMNS`, `User::from_row`) and, with `and writes`, `Insert`.
//!     User reads and writes users { id, email, username }
//! }
//! static BY_ID: Sql = Sql::select("users", sql!("SELECT ", User::COLUMNS, " FROM users WHERE users.id = $1"));
//! let user = User::from_row(&row)?;
//! tx.insert(&user).await?;
//! ```
//!
//! Every field of the struct must be listed, or the crate does not compile. So a new column touches its migration, the
//! struct, this declaration and the statements that use it. In a list each column is called `table_column`, so that
//! the lists of several tables fit into one SELECT.

use super::error::StoreError;
use super::row::Row;
use super::value::Value;

/// A struct that is read from a row.
pub(crate) trait FromRow: Sized {
    /// The columns that a SELECT or RETURNING must list.
    const COLUMNS: &'static str;

    fn from_row(row: &Row) -> Result<Self, StoreError>;
}

/// A struct that is inserted as one row.
pub(crate) trait Insert {
    /// The table that the row belongs to.
    const TABLE: &'static str;

    /// Returns the columns that the row sets, with their values.
    fn columns(&self) -> Vec<(&'static str, Value)>;
}

/// Joins constant texts to one, when the program is compiled.
macro_rules! sql {
    ($($part:expr),* $(,)?) => {{
        const PARTS: &[&str] = &[$($part),*];
        const BYTES: [u8; $crate::engine::columns::length_of(PARTS)] = $crate::engine::columns::join(PARTS);
        const TEXT: &str = match core::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => panic!("texts joined are a text"),
        };
        TEXT
    }};
}

pub(crate) const fn length_of(parts: &[&str]) -> usize {
    let (mut length, mut part) = (0, 0);
    while part < parts.len() {
        length += parts[part].len();
        part += 1;
    }
    length
}

pub(crate) const fn join<const LENGTH: usize>(parts: &[&str]) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let text = parts[part].as_bytes();
        let mut n = 0;
        while n < text.len() {
            bytes[at] = text[n];
            at += 1;
            n += 1;
        }
        part += 1;
    }
    bytes
}

/// Returns a list of columns for a SELECT: for `column_list!(users { id, email })` the text
/// `users.id AS users_id, users.email AS users_email`. `column = "expression"` selects an expression instead.
macro_rules! column_list {
    ($table:ident { $first:ident $(= $first_sql:expr)? $(, $column:ident $(= $sql:expr)?)* $(,)? }) => {
        $crate::engine::columns::sql!(
            $crate::engine::columns::column!($table $first $(= $first_sql)?),
            $(", ", $crate::engine::columns::column!($table $column $(= $sql)?),)*
        )
    };
}

macro_rules! column {
    ($table:ident $column:ident) => {
        concat!(stringify!($table), ".", stringify!($column), " AS ", stringify!($table), "_", stringify!($column))
    };
    ($table:ident $column:ident = $sql:expr) => {
        $crate::engine::columns::sql!($sql, concat!(" AS ", stringify!($table), "_", stringify!($column)))
    };
}

macro_rules! columns {
    ($record:ident reads and writes $table:ident { $($column:ident),* $(,)? }) => {
        $crate::engine::columns::columns! { $record reads $table { $($column),* } }
        $crate::engine::columns::columns! { $record writes $table { $($column),* } }
    };

    // A field behind `and` is a struct of its own, given with its type.
    (
        $record:ident reads $table:ident { $($column:ident $(= $sql:expr)?),* $(,)? }
        $(and { $($nested:ident: $nested_type:ty),* $(,)? })?
    ) => {
        impl $crate::engine::columns::FromRow for $record {
            const COLUMNS: &'static str = $crate::engine::columns::sql!(
                $crate::engine::columns::column_list!($table { $($column $(= $sql)?),* }),
                $($(", ", <$nested_type as $crate::engine::columns::FromRow>::COLUMNS,)*)?
            );

            fn from_row(row: &$crate::engine::row::Row) -> Result<Self, $crate::engine::error::StoreError> {
                Ok(Self {
                    $($column: row.read(concat!(stringify!($table), "_", stringify!($column)))?,)*
                    $($($nested: $crate::engine::columns::FromRow::from_row(row)?,)*)?
                })
            }
        }
    };

    // `column = value` stores another value than the field's. A column behind `and` has no field of its own.
    (
        $record:ident writes $table:ident { $($column:ident $(= $value:expr)?),* $(,)? }
        $(and { $($extra:ident = $extra_value:expr),* $(,)? })?
    ) => {
        impl $crate::engine::columns::Insert for $record {
            const TABLE: &'static str = stringify!($table);

            fn columns(&self) -> Vec<(&'static str, $crate::engine::value::Value)> {
                let Self { $($column),* } = self;
                vec![
                    $((stringify!($column), $crate::engine::columns::stored_value!($column $(= $value)?)),)*
                    $($((stringify!($extra), $crate::engine::value::ToValue::to_value(&$extra_value)),)*)?
                ]
            }
        }
    };
}

macro_rules! stored_value {
    ($column:ident) => {
        $crate::engine::value::ToValue::to_value($column)
    };
    ($column:ident = $value:expr) => {
        $crate::engine::value::ToValue::to_value(&$value)
    };
}

pub(crate) use {column, column_list, columns, sql, stored_value};

#[cfg(test)]
mod tests {
    #[test]
    fn a_list_names_each_column_after_its_table() {
        assert_eq!(column_list!(users { id, email }), "users.id AS users_id, users.email AS users_email");
    }

    #[test]
    fn a_list_can_select_an_expression() {
        assert_eq!(column_list!(keys { since = "COALESCE(a, b)" }), "COALESCE(a, b) AS keys_since");
    }
}
