//! Reads columns of a row. A value that cannot be read is [`StoreError::Corrupt`] with the column's name.

use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Decode, Row as _, Type};

use super::error::StoreError;

/// One row of a result.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A type that both drivers can decode.
pub(crate) trait Decodable:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Decodable for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

/// A type that is read from a column.
pub(crate) trait FromColumn: Sized {
    fn from_column(row: &Row, column: &str) -> Result<Self, StoreError>;
}

impl Row {
    pub(crate) fn read<T: FromColumn>(&self, column: &str) -> Result<T, StoreError> {
        T::from_column(self, column)
    }

    /// Reads a column as a type that the drivers know.
    pub(crate) fn get<T: Decodable>(&self, column: &str) -> Result<T, StoreError> {
        let read = match self {
            Self::Sqlite(row) => row.try_get::<T, _>(column),
            Self::Postgres(row) => row.try_get::<T, _>(column),
        };
        read.map_err(|error| StoreError::corrupt(format!("{column}: {error}")))
    }

    /// Reads a SHA-256 digest.
    pub(crate) fn hash(&self, column: &str) -> Result<[u8; 32], StoreError> {
        let bytes: Vec<u8> = self.get(column)?;
        <[u8; 32]>::try_from(bytes).map_err(|_| StoreError::corrupt(format!("{column} is not 32 bytes")))
    }

    /// Reads a number that is never negative.
    pub(crate) fn count(&self, column: &str) -> Result<u64, StoreError> {
        let n: i64 = self.get(column)?;
        u64::try_from(n).map_err(|_| StoreError::corrupt(format!("{column} is {n}")))
    }
}
