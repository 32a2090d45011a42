//! Refuses a PostgreSQL server on which the program would fail later: too old, with another encoding, or read-only.

use super::connection::Connection;
use super::error::StoreError;
use super::open_error::OpenError;
use super::statement::{Runner, Sql};

/// Oldest supported major version.
pub(crate) const OLDEST: u32 = 15;

static SERVER: Sql = Sql::select(
    "settings",
    "SELECT current_setting('server_version_num') AS number, current_setting('server_version') AS name, \
     current_setting('server_encoding') AS encoding",
);
static READ_ONLY: Sql = Sql::select(
    "settings",
    "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') AS read_only",
);

/// Fails with [`OpenError::TooOld`] or [`OpenError::Encoding`] when the server is not supported.
pub(crate) async fn check(runner: &Runner, on: &mut Connection, address: &str) -> Result<(), OpenError> {
    let rows = runner.all(on, &SERVER, vec![]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let number: String = row.get("number")?;
    if !is_supported(&number) {
        return Err(OpenError::TooOld { address: address.to_owned(), found: row.get("name")?, needed: OLDEST });
    }
    let encoding: String = row.get("encoding")?;
    match encoding.as_str() {
        "UTF8" => Ok(()),
        _ => Err(OpenError::Encoding { address: address.to_owned(), encoding }),
    }
}

/// Fails with [`OpenError::ReadOnly`] when the server refuses writes.
pub(crate) async fn refuse_read_only(runner: &Runner, on: &mut Connection, address: &str) -> Result<(), OpenError> {
    let rows = runner.all(on, &READ_ONLY, vec![]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (is_standby, read_only): (bool, String) = (row.get("standby")?, row.get("read_only")?);
    match is_standby || read_only == "on" {
        true => Err(OpenError::ReadOnly { address: address.to_owned(), is_standby }),
        false => Ok(()),
    }
}

/// Fails with [`OpenError::TableRights`] when the user may not read and change each of these tables.
pub(crate) async fn check_table_rights(
    runner: &Runner,
    on: &mut Connection,
    tables: &[&'static str],
    address: &str,
) -> Result<(), OpenError> {
    let list: Vec<String> = tables.iter().map(|name| format!("'{name}'")).collect();
    let lacks = |right: &str| format!("NOT has_table_privilege(c.oid, '{right}')");
    let text = format!(
        "SELECT CAST(c.relname AS TEXT) AS name FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = current_schema() AND c.relname IN ({}) AND ({}) ORDER BY c.relname",
        list.join(", "),
        ["SELECT", "INSERT", "UPDATE", "DELETE"].map(lacks).join(" OR ")
    );
    let rows = runner.all(on, &Sql::select("settings", "").with_text(text), vec![]).await?;
    let lacking = rows.iter().map(|row| row.get("name")).collect::<Result<Vec<String>, StoreError>>()?;
    match lacking.is_empty() {
        true => Ok(()),
        false => Err(OpenError::TableRights { address: address.to_owned(), tables: lacking }),
    }
}

/// Judges `server_version_num`, which is the major version times 10,000 plus the minor version.
pub(crate) fn is_supported(number: &str) -> bool {
    number.parse::<u32>().is_ok_and(|number| number / 10_000 >= OLDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_15_and_newer_are_supported() {
        let versions = [("150000", true), ("170002", true), ("149999", false), ("90624", false), ("", false)];
        for (number, supported) in versions {
            assert_eq!(is_supported(number), supported, "{number}");
        }
    }
}
