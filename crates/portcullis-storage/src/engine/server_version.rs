//! Refuses a PostgreSQL server that is too old.

use sqlx::postgres::PgConnectOptions;

use super::connection::Connection;
use super::open_error::OpenError;
use super::statement::{Runner, Sql};
use super::url::address;

/// Oldest supported major version.
const OLDEST: u32 = 15;

static VERSION: Sql = Sql::select(
    "settings",
    "SELECT current_setting('server_version_num') AS number, current_setting('server_version') AS name",
);

/// Fails with [`OpenError::TooOld`] when the server's version is not supported.
pub(crate) async fn check(runner: &Runner, on: &mut Connection, server: &PgConnectOptions) -> Result<(), OpenError> {
    let rows = runner.all(on, &VERSION, vec![]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let number: String = row.read("number")?;
    if is_supported(&number) {
        return Ok(());
    }
    Err(OpenError::TooOld { address: address(server), found: row.read("name")?, needed: OLDEST })
}

/// Judges `server_version_num`, which is the major version times 10,000 plus the minor version.
fn is_supported(number: &str) -> bool {
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
