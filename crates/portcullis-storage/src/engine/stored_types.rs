//! How the model's types are stored in columns and read from them.

use std::net::IpAddr;

use portcullis_model::{
    Amr, Email, Permission, PermissionSet, ProfileName, Role, SecretString, SessionId, Timestamp, Transport, UserId,
    Username,
};
use uuid::Uuid;

use super::dialect::whole_micros;
use super::error::StoreError;
use super::row::{FromColumn, Row};
use super::value::to_value;

to_value!(
    UserId => Uuid |id| id.0,
    SessionId => Uuid |id| id.0,
    Email => Text |email| email.as_str().to_owned(),
    Username => Text |name| name.as_str().to_owned(),
    ProfileName => Text |name| name.as_str().to_owned(),
    SecretString => Text |secret| secret.expose().to_owned(),
    IpAddr => Text ToString::to_string,
    // Lists and other structures are stored as JSON.
    Vec<Amr> => Text |list| serde_json::Value::from_iter(list.iter().map(Amr::as_str)).to_string(),
    serde_json::Value => Text ToString::to_string,
    Vec<Permission> => Text |list| serde_json::Value::from_iter(list.iter().map(Permission::as_str)).to_string(),
);

/// Stores an enum under the name that its `as_str` returns, and reads it by `FromStr`.
macro_rules! stored_by_name {
    ($($type:ty),* $(,)?) => {
        $(
            $crate::engine::value::to_value!($type => Text |value| value.as_str().to_owned());

            impl $crate::engine::row::FromColumn for $type {
                fn from_column(
                    row: &$crate::engine::row::Row,
                    column: &str,
                ) -> Result<Self, $crate::engine::error::StoreError> {
                    let text: String = row.get(column)?;
                    let unknown = |_| $crate::engine::error::StoreError::corrupt(format!("{column} is {text:?}"));
                    text.parse().map_err(unknown)
                }
            }
        )*
    };
}
pub(crate) use stored_by_name;

stored_by_name!(Role, Transport);

macro_rules! read_by {
    ($($type:ty => |$row:ident, $column:ident| $read:expr),* $(,)?) => {
        $(
            impl FromColumn for $type {
                fn from_column($row: &Row, $column: &str) -> Result<Self, StoreError> {
                    $read
                }
            }
        )*
    };
}

read_by!(
    bool => |row, column| row.get(column),
    i64 => |row, column| row.get(column),
    String => |row, column| row.get(column),
    Option<String> => |row, column| row.get(column),
    Vec<u8> => |row, column| row.get(column),
    Uuid => |row, column| row.get(column),
    u64 => |row, column| row.count(column),
    [u8; 32] => |row, column| row.hash(column),
    Timestamp => |row, column| row.get(column).map(whole_micros),
    Option<Timestamp> => |row, column| Ok(row.get::<Option<Timestamp>>(column)?.map(whole_micros)),
    UserId => |row, column| row.get(column).map(UserId),
    Option<UserId> => |row, column| Ok(row.get::<Option<Uuid>>(column)?.map(UserId)),
    SessionId => |row, column| row.get(column).map(SessionId),
    Option<SessionId> => |row, column| Ok(row.get::<Option<Uuid>>(column)?.map(SessionId)),
    Email => |row, column| row.get(column).map(Email::from_stored),
    Username => |row, column| row.get(column).map(Username::from_stored),
    ProfileName => |row, column| row.get(column).map(ProfileName::from_stored),
    Option<SecretString> => |row, column| Ok(row.get::<Option<String>>(column)?.map(SecretString::new)),
    Vec<Amr> => |row, column| json(column, &row.get::<String>(column)?),
    Option<Vec<Permission>> => |row, column| optional_json(row, column),
    Option<serde_json::Value> => |row, column| optional_json(row, column),
    PermissionSet => |row, column| permission_set(row, column),
);

fn json<T: serde::de::DeserializeOwned>(column: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(format!("{column}: {error}")))
}

fn optional_json<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| json(column, &text)).transpose()
}

/// Reads permissions joined by commas; NULL stands for none.
fn permission_set(row: &Row, column: &str) -> Result<PermissionSet, StoreError> {
    let joined: Option<String> = row.get(column)?;
    let names = joined.iter().flat_map(|names| names.split(','));
    names
        .map(|name| Permission::parse(name).map_err(|_| StoreError::corrupt(format!("{column} holds {name:?}"))))
        .collect()
}
