//! Everything that differs between the two engines' SQL.

use portcullis_model::{Clock, Timestamp, UserId};

use crate::value::Value;

/// Which engine's SQL to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
        }
    }

    /// Begins a transaction that may write. On SQLite it is alone from here on, so that it never has to give up
    /// half-way because another wrote first.
    pub(crate) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// A migration's body in this engine's types.
    ///
    /// SQLite keeps a timestamp as the RFC 3339 text that the driver writes for a bound value, always with
    /// `+00:00`: such texts order as the instants do. So instants are bound, never written as literals.
    pub(crate) fn schema(self, body: &str) -> String {
        let types: [(&str, &str); 9] = match self {
            Self::Sqlite => [
                ("{uuid}", "BLOB"),
                ("{bytes}", "BLOB"),
                ("{text}", "TEXT"),
                ("{timestamp}", "TEXT"),
                ("{boolean}", "INTEGER"),
                ("{bigint}", "INTEGER"),
                ("{sequence}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
                ("{strict}", " STRICT"),
                ("{often_updated}", " STRICT"),
            ],
            Self::Postgres => [
                ("{uuid}", "UUID"),
                ("{bytes}", "BYTEA"),
                ("{text}", "TEXT"),
                ("{timestamp}", "TIMESTAMPTZ"),
                ("{boolean}", "BOOLEAN"),
                ("{bigint}", "BIGINT"),
                ("{sequence}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
                ("{strict}", ""),
                // Room in each page for a row's next version, so that an update need not touch the indices (HOT).
                ("{often_updated}", " WITH (fillfactor = 85)"),
            ],
        };
        types.into_iter().fold(body.to_owned(), |text, (token, word)| text.replace(token, word))
    }

    /// An expression for the database's time, which takes [`now_value`](Self::now_value) as its parameter.
    ///
    /// PostgreSQL reads its own clock, so that replicas agree, moved by as much as a test has moved ours.
    /// SQLite lives on this machine and takes our clock.
    pub(crate) fn now(self, parameter: &str) -> String {
        match self {
            Self::Sqlite => parameter.to_owned(),
            Self::Postgres => format!("(clock_timestamp() + {parameter} * INTERVAL '1 microsecond')"),
        }
    }

    /// The `n`th parameter in a statement of very many, which stand there in order: SQLite looks a parameter that has
    /// a name or a number up among all the others, so that a thousand rows would take a million looks.
    pub(crate) fn parameter(self, n: usize) -> String {
        match self {
            Self::Sqlite => "?".to_owned(),
            Self::Postgres => format!("${n}"),
        }
    }

    /// The value for the parameter of [`now`](Self::now).
    pub(crate) fn now_value(self, clock: &Clock) -> Value {
        match self {
            Self::Sqlite => Value::from(clock.now()),
            Self::Postgres => Value::from(clock.offset_micros()),
        }
    }

    /// A statement that waits for a lock until the transaction ends, `$1` being the lock's number.
    /// `None` on SQLite, where a write transaction is alone from its beginning.
    pub(crate) fn lock(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT CAST(pg_advisory_xact_lock($1) AS TEXT) AS locked"),
        }
    }
}

/// What several replicas must not do at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lock {
    Migrations,
    Administrators,
    SigningKeys,
    /// What one person has a limited number of.
    Owner(UserId),
}

impl Lock {
    /// The lock's number on PostgreSQL, unlikely to be another application's: "portcul" in ASCII, then a digit.
    pub(crate) fn number(self) -> i64 {
        const FAMILY: i64 = 0x706f_7274_6375_6c00;
        match self {
            Self::Migrations => FAMILY + 1,
            Self::Administrators => FAMILY + 2,
            Self::SigningKeys => FAMILY + 3,
            // The random half of a UUID (RFC 9562 §5.7). Two who share it wait for each other, nothing worse.
            Self::Owner(id) => id.0.as_u64_pair().1.cast_signed(),
        }
    }
}

/// A timestamp as the database gives it back: whole microseconds.
pub(crate) fn whole_micros(at: Timestamp) -> Timestamp {
    Timestamp::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_schema_is_known_to_both_engines() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            for migration in crate::migrate::MIGRATIONS {
                for text in [dialect.schema(migration.up), dialect.schema(migration.down)] {
                    assert!(!text.contains('{') && !text.contains('}'), "{dialect:?}: {}", migration.name);
                }
            }
        }
    }
}
