//! The parameters of statements. NULL keeps its type, because PostgreSQL must know it.

use portcullis_model::Timestamp;
use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use uuid::Uuid;

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Boolean(Option<bool>),
    BigInt(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Uuid(Option<Uuid>),
    Time(Option<Timestamp>),
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {
        $(
            impl From<$type> for Value {
                fn from(value: $type) -> Self {
                    Self::$variant(Some(value))
                }
            }
            impl From<Option<$type>> for Value {
                fn from(value: Option<$type>) -> Self {
                    Self::$variant(value)
                }
            }
        )*
    };
}

from!(bool => Boolean, i64 => BigInt, String => Text, Vec<u8> => Bytes, Uuid => Uuid, Timestamp => Time);

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

/// Converts a count for LIMIT and OFFSET, which are signed in both engines.
pub(crate) fn as_bigint(n: u64) -> Value {
    i64::try_from(n).unwrap_or(i64::MAX).into()
}

pub(crate) fn for_sqlite(values: Vec<Value>) -> Result<SqliteArguments, BoxDynError> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Boolean(value) => arguments.add(value)?,
            Value::BigInt(value) => arguments.add(value)?,
            Value::Text(value) => arguments.add(value)?,
            Value::Bytes(value) => arguments.add(value)?,
            Value::Uuid(value) => arguments.add(value)?,
            Value::Time(value) => arguments.add(value)?,
        }
    }
    Ok(arguments)
}

pub(crate) fn for_postgres(values: Vec<Value>) -> Result<PgArguments, BoxDynError> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Boolean(value) => arguments.add(value)?,
            Value::BigInt(value) => arguments.add(value)?,
            Value::Text(value) => arguments.add(value)?,
            Value::Bytes(value) => arguments.add(value)?,
            Value::Uuid(value) => arguments.add(value)?,
            Value::Time(value) => arguments.add(value)?,
        }
    }
    Ok(arguments)
}
