//! Reads columns as the model's types. A value that cannot be read is [`StoreError::Corrupt`] with the column's name.

use portcullis_model::{SessionId, Timestamp, UserId};
use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Decode, Row as _, Type};
use uuid::Uuid;

use super::dialect::whole_micros;
use super::error::StoreError;

/// One row of a result.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A type that a column can be read as on both engines.
pub(crate) trait Column:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Column for T where T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> {}

impl Row {
    pub(crate) fn get<T: Column>(&self, column: &str) -> Result<T, StoreError> {
        let read = match self {
            Self::Sqlite(row) => row.try_get::<T, _>(column),
            Self::Postgres(row) => row.try_get::<T, _>(column),
        };
        read.map_err(|error| StoreError::corrupt(format!("{column}: {error}")))
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        self.get::<Timestamp>(column).map(whole_micros)
    }

    pub(crate) fn optional_time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<Option<Timestamp>>(column)?.map(whole_micros))
    }

    pub(crate) fn user_id(&self, column: &str) -> Result<UserId, StoreError> {
        self.get::<Uuid>(column).map(UserId)
    }

    pub(crate) fn session_id(&self, column: &str) -> Result<SessionId, StoreError> {
        self.get::<Uuid>(column).map(SessionId)
    }

    /// Reads a SHA-256 digest.
    pub(crate) fn hash(&self, column: &str) -> Result<[u8; 32], StoreError> {
        let bytes: Vec<u8> = self.get(column)?;
        <[u8; 32]>::try_from(bytes).map_err(|_| StoreError::corrupt(format!("{column} is not 32 bytes")))
    }

    /// Reads text and parses it as an enum such as `Role`.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, column: &str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        text.parse().map_err(|_| StoreError::corrupt(format!("{column} is {text:?}")))
    }

    pub(crate) fn count(&self, column: &str) -> Result<u64, StoreError> {
        let n: i64 = self.get(column)?;
        u64::try_from(n).map_err(|_| StoreError::corrupt(format!("{column} is {n}")))
    }
}
