//! The differences between the two engines' SQL.

use std::time::Duration;

use portcullis_model::{Clock, Timestamp};

use super::value::Value;

/// Stands in a migration where PostgreSQL builds or drops an index beside running programs.
pub(crate) const CONCURRENTLY: &str = "{concurrently}";

/// The engine whose SQL is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Returns the engine's name as health reports and documentation give it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
        }
    }

    /// Returns the statement that begins a writing transaction. On SQLite it takes the write lock at once, so that the
    /// transaction cannot fail later because another one wrote first.
    pub(crate) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Translates a migration's placeholders (`{uuid}`, `{timestamp}`…) into this engine's types.
    ///
    /// SQLite stores a timestamp as the RFC 3339 text that the driver writes for a bound value, always with `+00:00`,
    /// so that the texts sort like the instants. Instants are therefore bound, never written as literals.
    pub(crate) fn schema(self, body: &str) -> String {
        let types: [(&str, &str); 12] = match self {
            Self::Sqlite => [
                ("{uuid}", "BLOB"),
                ("{bytes}", "BLOB"),
                ("{text}", "TEXT"),
                ("{timestamp}", "TEXT"),
                ("{boolean}", "INTEGER"),
                ("{bigint}", "INTEGER"),
                ("{sequence}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
                ("{transaction_id}", "INTEGER"),
                ("{strict}", " STRICT"),
                ("{often_updated}", " STRICT"),
                ("{bytewise}", ""),
                ("{email_domain}", "substr(email, instr(email, '@'))"),
            ],
            Self::Postgres => [
                ("{uuid}", "UUID"),
                ("{bytes}", "BYTEA"),
                ("{text}", "TEXT"),
                ("{timestamp}", "TIMESTAMPTZ"),
                ("{boolean}", "BOOLEAN"),
                ("{bigint}", "BIGINT"),
                ("{sequence}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
                // The number of the top-level transaction, also inside a savepoint. The expression is not volatile, so
                // that adding such a column rewrites no rows.
                ("{transaction_id}", "XID8 DEFAULT pg_current_xact_id()"),
                ("{strict}", ""),
                // Leaves room in each page for a row's next version, so that an update need not touch the indices (HOT).
                ("{often_updated}", " WITH (fillfactor = 85)"),
                ("{bytewise}", " COLLATE \"C\""),
                ("{email_domain}", "substr(email, strpos(email, '@')) COLLATE \"C\""),
            ],
        };
        let text = types.into_iter().fold(body.to_owned(), |text, (token, word)| text.replace(token, word));
        match self {
            Self::Sqlite => text.replace(&format!("{CONCURRENTLY} "), ""),
            Self::Postgres => text.replace(CONCURRENTLY, "CONCURRENTLY"),
        }
    }

    /// Returns what makes an expression of text compare byte by byte, as an index of prefixes does. SQLite always does.
    pub(crate) fn bytewise(self) -> String {
        self.schema("{bytewise}")
    }

    /// Returns the expression for the domain of a user's e-mail address, with its `@`. An index has it.
    pub(crate) fn email_domain(self) -> String {
        format!("({})", self.schema("{email_domain}"))
    }

    /// Returns an expression for the database's time, whose parameter is [`now_value`](Self::now_value).
    ///
    /// PostgreSQL reads its own clock, so that replicas agree, shifted by the offset of a test's clock. SQLite runs
    /// on this machine and takes this process's clock.
    pub(crate) fn now(self, parameter: &str) -> String {
        match self {
            Self::Sqlite => parameter.to_owned(),
            Self::Postgres => format!("(clock_timestamp() + {parameter} * INTERVAL '1 microsecond')"),
        }
    }

    /// Returns an expression for the database's time just before it runs the statement. Its parameter is
    /// [`now_value`](Self::now_value) too.
    pub(crate) fn statement_start(self, parameter: &str) -> String {
        match self {
            Self::Sqlite => parameter.to_owned(),
            Self::Postgres => format!("(statement_timestamp() + {parameter} * INTERVAL '1 microsecond')"),
        }
    }

    /// Returns the `n`th parameter of a statement that has very many, in ascending order. SQLite searches a numbered
    /// parameter among all the others, so that a thousand rows would cost a million comparisons; `?` avoids that.
    pub(crate) fn parameter(self, n: usize) -> String {
        match self {
            Self::Sqlite => "?".to_owned(),
            Self::Postgres => format!("${n}"),
        }
    }

    /// Returns the value for the parameter of [`now`](Self::now).
    pub(crate) fn now_value(self, clock: &Clock) -> Value {
        match self {
            Self::Sqlite => Value::from(clock.now()),
            Self::Postgres => Value::from(clock.offset_micros()),
        }
    }

    /// Returns the value with which [`now`](Self::now) is the time this much later.
    pub(crate) fn now_plus(self, clock: &Clock, by: Duration) -> Value {
        match self {
            Self::Sqlite => Value::from(clock.now() + by),
            Self::Postgres => {
                let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
                Value::from(clock.offset_micros().saturating_add(by))
            }
        }
    }

    /// Returns the clause of a SELECT that locks rows until the transaction ends. It is empty on SQLite, where only one
    /// transaction writes at a time.
    pub(crate) fn row_lock(self, clause: &'static str) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => clause,
        }
    }

    /// Returns a statement that waits for the advisory lock `$1` and holds it until the transaction ends. `None` on
    /// SQLite, where only one transaction writes at a time.
    pub(crate) fn lock(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT CAST(pg_advisory_xact_lock($1) AS TEXT) AS locked"),
        }
    }
}

/// Truncates a timestamp to whole microseconds, the precision that both engines store.
pub(crate) fn whole_micros(at: Timestamp) -> Timestamp {
    Timestamp::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}
