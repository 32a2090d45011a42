//! The parameters of statements. NULL keeps its type, because PostgreSQL must know it.

use portcullis_model::Timestamp;
use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use uuid::Uuid;

/// A parameter of a statement, and a value of a row. `None` is NULL.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A truth value.
    Boolean(Option<bool>),
    /// A signed number of 64 bits.
    BigInt(Option<i64>),
    /// A text in UTF-8.
    Text(Option<String>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
    /// An id.
    Uuid(Option<Uuid>),
    /// An instant, to the microsecond.
    Time(Option<Timestamp>),
}

/// A type that is stored in a column.
pub(crate) trait ToValue {
    /// NULL of the column's type.
    const NULL: Value;

    fn to_value(&self) -> Value;
}

macro_rules! to_value {
    ($($type:ty => $variant:ident $convert:expr),* $(,)?) => {
        $(
            impl $crate::engine::value::ToValue for $type {
                const NULL: $crate::engine::value::Value = $crate::engine::value::Value::$variant(None);

                fn to_value(&self) -> $crate::engine::value::Value {
                    let convert: fn(&$type) -> _ = $convert;
                    $crate::engine::value::Value::$variant(Some(convert(self)))
                }
            }
        )*
    };
}

to_value!(
    bool => Boolean |value| *value,
    i64 => BigInt |value| *value,
    str => Text str::to_owned,
    String => Text Clone::clone,
    Vec<u8> => Bytes Clone::clone,
    [u8; 32] => Bytes |value| value.to_vec(),
    Uuid => Uuid |value| *value,
    Timestamp => Time |value| *value,
);
pub(crate) use to_value;

impl<T: ToValue + ?Sized> ToValue for &T {
    const NULL: Value = T::NULL;

    fn to_value(&self) -> Value {
        T::to_value(self)
    }
}

impl<T: ToValue> ToValue for Option<T> {
    const NULL: Value = T::NULL;

    fn to_value(&self) -> Value {
        self.as_ref().map_or(T::NULL, ToValue::to_value)
    }
}

impl<T: ToValue> From<T> for Value {
    fn from(value: T) -> Self {
        value.to_value()
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
