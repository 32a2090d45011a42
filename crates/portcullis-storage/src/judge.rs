//! Whether a PostgreSQL server will do.

use sqlx::postgres::PgConnectOptions;

use crate::connection::Connection;
use crate::open::OpenError;
use crate::statement::{Runner, Sql};
use crate::url::address;

/// The oldest that will do.
const OLDEST: u32 = 15;

static VERSION: Sql = Sql::select(
    "settings",
    "SELECT current_setting('server_version_num') AS number, current_setting('server_version') AS name",
);

/// Refuses a server that is too old.
pub(crate) async fn server(runner: &Runner, on: &mut Connection, server: &PgConnectOptions) -> Result<(), OpenError> {
    let rows = runner.all(on, &VERSION, vec![]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let number: String = row.get("number")?;
    if is_new_enough(&number) {
        return Ok(());
    }
    Err(OpenError::TooOld { address: address(server), found: row.get("name")?, needed: OLDEST })
}

/// Of `server_version_num`: the major version times 10,000, and the minor.
fn is_new_enough(number: &str) -> bool {
    number.parse::<u32>().is_ok_and(|number| number / 10_000 >= OLDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_and_newer_will_do() {
        for (number, will_do) in [("150000", true), ("170002", true), ("149999", false), ("90624", false), ("", false)]
        {
            assert_eq!(is_new_enough(number), will_do, "{number}");
        }
    }
}
