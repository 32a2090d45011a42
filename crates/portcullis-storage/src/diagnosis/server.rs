//! The server: version, encoding, latency, connections, encryption and clock.

use std::time::{Duration, Instant};

use portcullis_model::{Clock, Finding};

use super::{CONNECTION, unreadable};
use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;
use crate::engine::options::StoreOptions;
use crate::engine::row::Row;
use crate::engine::server_check::{OLDEST, is_supported};
use crate::engine::url::DatabaseUrl;

const VERSION: &str = "database.version";
const ENCODING: &str = "database.encoding";
const LATENCY: &str = "database.latency";
const CONNECTIONS: &str = "database.connections";
const ENCRYPTION: &str = "database.encryption";
const CLOCK: &str = "clock.database";

/// A round trip of more than this makes every request that reads the database slow.
const SLOW: Duration = Duration::from_millis(50);
const PINGS: usize = 5;
/// The share of the server's connections, in percent, above which replicas may soon get none.
const MOST_CONNECTIONS: i64 = 80;
/// A difference of clocks, in microseconds, that is worth attention.
const CLOCK_TOLERANCE: i64 = 1_000_000;

/// Looks at the server and its connection.
pub(super) async fn examine(on: &mut DirectConnection, options: &StoreOptions, found: &mut Vec<Finding>) {
    match &options.url {
        DatabaseUrl::Sqlite { .. } => sqlite(on, options, found).await,
        DatabaseUrl::Postgres { .. } => postgres(on, options, found).await,
    }
    latency(on, found).await;
}

async fn sqlite(on: &mut DirectConnection, options: &StoreOptions, found: &mut Vec<Finding>) {
    let DatabaseUrl::Sqlite { path } = &options.url else { return };
    let size = path.metadata().map(|file| file.len()).unwrap_or_default();
    let size = format!("{:.1} MB", size as f64 / 1e6);
    found.push(Finding::pass(CONNECTION, format!("SQLite, {} ({size})", path.display())));
    let text = "SELECT sqlite_version() AS name, (SELECT encoding FROM pragma_encoding) AS encoding";
    match facts(on, text).await {
        Ok(row) => {
            let (name, encoding): (String, String) =
                (row.get("name").unwrap_or_default(), row.get("encoding").unwrap_or_default());
            found.push(Finding::pass(VERSION, format!("SQLite {name}")));
            found.push(judge_encoding(&encoding, encoding == "UTF-8"));
        }
        Err(error) => found.push(unreadable(VERSION, &error)),
    }
    found.push(Finding::pass(CLOCK, "SQLite has the clock of this machine"));
}

async fn postgres(on: &mut DirectConnection, options: &StoreOptions, found: &mut Vec<Finding>) {
    found.push(Finding::pass(CONNECTION, format!("PostgreSQL, {}", options.url)));
    let text = "SELECT current_setting('server_version') AS name, current_setting('server_version_num') AS number, \
                current_setting('server_encoding') AS encoding";
    match facts(on, text).await {
        Ok(row) => {
            let [name, number, encoding] =
                ["name", "number", "encoding"].map(|column| row.get::<String>(column).unwrap_or_default());
            found.push(match is_supported(&number) {
                true => Finding::pass(VERSION, format!("PostgreSQL {name}")),
                false => Finding::fail(
                    VERSION,
                    format!("PostgreSQL {name}; {OLDEST} or newer is needed"),
                    "upgrade PostgreSQL, or use SQLite",
                ),
            });
            found.push(judge_encoding(&encoding, encoding == "UTF8"));
        }
        Err(error) => found.push(unreadable(VERSION, &error)),
    }
    found.push(connections(on, options).await.unwrap_or_else(|error| unreadable(CONNECTIONS, &error)));
    found.push(encryption(on).await.unwrap_or_else(|error| unreadable(ENCRYPTION, &error)));
    found.push(clock(on, &options.clock).await.unwrap_or_else(|error| unreadable(CLOCK, &error)));
}

fn judge_encoding(encoding: &str, is_good: bool) -> Finding {
    match is_good {
        true => Finding::pass(ENCODING, encoding),
        false => Finding::fail(
            ENCODING,
            format!("the database has the encoding {encoding}; UTF8 is needed"),
            "create another database: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8', and move the data with \
             pg_dump",
        ),
    }
}

async fn latency(on: &mut DirectConnection, found: &mut Vec<Finding>) {
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let begun = Instant::now();
        if let Err(error) = facts(on, "SELECT 1 AS one").await {
            found.push(unreadable(LATENCY, &error));
            return;
        }
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    found.push(judge_latency(times[PINGS / 2]));
}

fn judge_latency(median: Duration) -> Finding {
    let text = format!("a statement takes {:.1} ms (median of {PINGS})", median.as_secs_f64() * 1e3);
    match median <= SLOW {
        true => Finding::pass(LATENCY, text),
        false => Finding::warn(
            LATENCY,
            text,
            "run the gateway near its database (same zone or rack), and check the load of the database",
        ),
    }
}

async fn connections(on: &mut DirectConnection, options: &StoreOptions) -> Result<Finding, StoreError> {
    let row = facts(
        on,
        "SELECT CAST(current_setting('max_connections') AS BIGINT) \
         - CAST(current_setting('superuser_reserved_connections') AS BIGINT) AS most, \
         (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL) AS used",
    )
    .await?;
    Ok(judge_connections(row.get("used")?, row.get("most")?, options.pool_max))
}

fn judge_connections(used: i64, most: i64, pool_max: u32) -> Finding {
    let text = format!("{used} of {most} connections are in use; each replica opens up to {pool_max} and 2 more");
    match used * 100 <= most * MOST_CONNECTIONS && i64::from(pool_max) + 2 <= most {
        true => Finding::pass(CONNECTIONS, text),
        false => Finding::warn(
            CONNECTIONS,
            text,
            "raise max_connections of PostgreSQL, lower database.pool_max, or put PgBouncer between",
        ),
    }
}

async fn encryption(on: &mut DirectConnection) -> Result<Finding, StoreError> {
    let row = facts(
        on,
        "SELECT COALESCE(s.ssl, FALSE) AS encrypted, COALESCE(s.version, '') AS version, \
         inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() <<= '::1' AS local \
         FROM (SELECT 1) AS one LEFT JOIN pg_stat_ssl s ON s.pid = pg_backend_pid()",
    )
    .await?;
    let (encrypted, version, local): (bool, String, bool) =
        (row.get("encrypted")?, row.get("version")?, row.get("local")?);
    Ok(match (encrypted, local) {
        (true, _) => Finding::pass(ENCRYPTION, format!("the connection is encrypted ({version})")),
        (false, true) => Finding::pass(ENCRYPTION, "not encrypted; the server is on this machine"),
        (false, false) => Finding::warn(
            ENCRYPTION,
            "the connection to PostgreSQL is not encrypted",
            "write sslmode=verify-full into DATABASE_URL, and sslrootcert=/path/ca.pem for a private authority",
        ),
    })
}

async fn clock(on: &mut DirectConnection, clock: &Clock) -> Result<Finding, StoreError> {
    let before = clock.unix_micros();
    let row = facts(on, "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS micros").await?;
    let after = clock.unix_micros();
    Ok(judge_clock(row.get("micros")?, before, after))
}

/// Judges the database's time, which was read between two readings of ours. What the round trip may explain counts as no
/// difference.
fn judge_clock(database: i64, before: i64, after: i64) -> Finding {
    let ahead = if database < before { before - database } else { (after - database).min(0) };
    let seconds = (ahead as f64 / 1e6).abs();
    if ahead.abs() < CLOCK_TOLERANCE {
        return Finding::pass(CLOCK, format!("this machine's clock and the database's differ by {seconds:.3} s"));
    }
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    Finding::warn(
        CLOCK,
        format!(
            "this machine's clock is {seconds:.1} s {direction} the database's; replicas use the database's time, but TLS \
             does not"
        ),
        "let NTP set the clocks of both machines (chrony, systemd-timesyncd)",
    )
}

async fn facts(on: &mut DirectConnection, text: &str) -> Result<Row, StoreError> {
    let rows = on.all(text.to_owned(), vec![]).await?;
    rows.into_iter().next().ok_or_else(|| StoreError::corrupt("a SELECT without FROM returned no row"))
}

#[cfg(test)]
mod tests {
    use portcullis_model::finding::Status;

    use super::*;

    #[test]
    fn a_clock_is_judged_by_what_the_round_trip_cannot_explain() {
        let at = 1_000_000_000;
        assert_eq!(judge_clock(at + 400_000, at, at + 5_000_000).status, Status::Pass);
        let behind = judge_clock(at + 7_000_000, at, at + 1_000);
        assert_eq!(behind.status, Status::Warn);
        assert!(behind.found.contains("7.0 s behind"), "{}", behind.found);
        let ahead = judge_clock(at - 7_000_000, at, at + 1_000);
        assert!(ahead.found.contains("7.0 s ahead of"), "{}", ahead.found);
    }

    #[test]
    fn few_free_connections_and_a_slow_database_are_warnings() {
        assert_eq!(judge_connections(10, 97, 10).status, Status::Pass);
        assert_eq!(judge_connections(80, 97, 10).status, Status::Warn);
        assert_eq!(judge_connections(1, 97, 100).status, Status::Warn, "one replica could take more than there are");
        assert_eq!(judge_latency(Duration::from_millis(3)).status, Status::Pass);
        assert_eq!(judge_latency(Duration::from_millis(51)).status, Status::Warn);
    }
}
