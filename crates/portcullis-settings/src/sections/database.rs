//! `[database]`: the database, its connections and its timeouts.

use std::path::Path;
use std::time::Duration;

use portcullis_storage::{DatabaseUrl, MigrateMode, PostgresUrl};

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;
use crate::engine::values::one_of;
use crate::engine::values::positive_duration;

/// The section `[database]`.
#[derive(Clone, Debug)]
pub struct Database {
    /// The engine and the address.
    pub url: DatabaseUrl,
    /// The connections to PostgreSQL that are kept open when idle.
    pub pool_min: u32,
    /// The most connections at a time.
    pub pool_max: u32,
    /// How long a statement waits for a free connection.
    pub acquire_timeout: Duration,
    /// How long a statement may run before the request fails.
    pub statement_timeout: Duration,
    /// Whether the server migrates an older schema at the start.
    pub migrate: MigrateMode,
    /// How long the server waits while another replica migrates.
    pub migrate_wait: Duration,
}

/// The name of SQLite's file in the data folder.
const FILE_NAME: &str = "portcullis.db";
/// The largest pool: more connections make PostgreSQL slower.
const MAX_POOL: u32 = 1000;

static URL: Key = Key::restart(
    "url",
    DefaultValue::Described("SQLite, `portcullis.db` in the data folder"),
    "URL",
    "`postgres://user:password@host:5432/database`, or `sqlite:///absolute/path`, made if absent. Another user, password or option of the same PostgreSQL database takes effect on reload.",
)
.environment(&["DATABASE_URL"])
.secret();
static DIRECT_URL: Key = Key::restart(
    "direct_url",
    DefaultValue::Described("none"),
    "URL",
    "An address of the same database that leads past PgBouncer, for migrations and notifications, when `url` has `pgbouncer=true`.",
)
.environment(&["DATABASE_DIRECT_URL"])
.secret();
static POOL_MIN: Key = Key::restart(
    "pool_min",
    DefaultValue::Text("1"),
    "connections",
    "The connections to PostgreSQL that are kept open when idle.",
)
.environment(&["DATABASE_POOL_MIN"]);
static POOL_MAX: Key =
    Key::restart("pool_max", DefaultValue::Text("10"), "connections", "The most connections at a time.")
        .environment(&["DATABASE_POOL_MAX"]);
static ACQUIRE_TIMEOUT: Key = Key::restart(
    "acquire_timeout",
    DefaultValue::Text("3s"),
    "duration",
    "How long a statement waits for a free connection; then 503.",
);
static STATEMENT_TIMEOUT: Key =
    Key::restart("statement_timeout", DefaultValue::Text("10s"), "duration", "How long a statement may run; then 503.");

static MIGRATE: Key = Key::restart(
    "migrate",
    DefaultValue::Text("auto"),
    "`auto` or `off`",
    "`auto` migrates an older schema at the start, or waits while another replica migrates it; `off` refuses to start on an older schema.",
);
static MIGRATE_WAIT: Key = Key::restart(
    "migrate_wait",
    DefaultValue::Text("10m"),
    "duration",
    "How long the start waits while another replica migrates.",
);

pub(crate) static SECTION: Section = Section {
    name: "database",
    about: "\
SQLite serves one machine, in production too. Several replicas need PostgreSQL, and share one database.
[storage.md](storage.md#the-address) lists the options of a PostgreSQL address.",
    keys: &[&URL, &DIRECT_URL, &POOL_MIN, &POOL_MAX, &ACQUIRE_TIMEOUT, &STATEMENT_TIMEOUT, &MIGRATE, &MIGRATE_WAIT],
};

pub(crate) fn read(tree: &Table, data_dir: &Path, problems: &mut Problems) -> Database {
    let mut section = Reader::open(tree, &SECTION, problems);
    let mut url = section.optional(&URL, DatabaseUrl::parse);
    if let Some(direct) = section.optional(&DIRECT_URL, PostgresUrl::parse) {
        match url {
            Some(DatabaseUrl::Postgres { url: pooled }) => match pooled.clone().with_direct(direct) {
                Ok(both) => url = Some(DatabaseUrl::Postgres { url: both }),
                Err(reason) => {
                    section.reject(&DIRECT_URL, "cannot be used", reason.to_string());
                    url = Some(DatabaseUrl::Postgres { url: pooled });
                }
            },
            _ => section.reject(&DIRECT_URL, "has no effect", "set DATABASE_URL to a PostgreSQL address, or unset it"),
        }
    }
    let pool_min = section.number(&POOL_MIN, 0, MAX_POOL);
    let pool_max = section.number(&POOL_MAX, 1, MAX_POOL);
    if pool_min > pool_max {
        let message = format!("is {pool_min}, which is more than pool_max ({pool_max})");
        section.reject(&POOL_MIN, message, "lower pool_min or raise pool_max");
    }
    Database {
        url: url.unwrap_or_else(|| DatabaseUrl::sqlite(data_dir.join(FILE_NAME))),
        pool_min,
        pool_max,
        acquire_timeout: section.value(&ACQUIRE_TIMEOUT, positive_duration),
        migrate: section
            .value(&MIGRATE, |text| one_of(text, &[("auto", MigrateMode::Auto), ("off", MigrateMode::Off)])),
        migrate_wait: section.value(&MIGRATE_WAIT, positive_duration),
        statement_timeout: section.value(&STATEMENT_TIMEOUT, positive_duration),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::{Clock, Random};
    use portcullis_storage::StoreOptions;
    use portcullis_telemetry::{Metrics, MetricsOptions};

    use crate::testing::{refused, settings};

    #[test]
    fn the_defaults_are_those_of_storage() {
        let database = settings("", &[]).database;
        let metrics = Metrics::new(&MetricsOptions::default(), "test");
        let options = StoreOptions::new(database.url.clone(), Clock::system(), Random::system(), metrics);
        assert_eq!((database.pool_min, database.pool_max), (options.pool_min, options.pool_max));
        assert_eq!(database.acquire_timeout, options.acquire_timeout);
        assert_eq!(database.statement_timeout, options.statement_timeout);
        assert_eq!((database.migrate, database.migrate_wait), (options.migrate, options.migrate_wait));
    }

    #[test]
    fn without_an_address_it_is_sqlite_in_the_data_folder() {
        let settings = settings("", &[("PORTCULLIS_DATA_DIR", "/somewhere")]);
        assert_eq!(settings.database.url.to_string(), "sqlite:///somewhere/portcullis.db");
    }

    #[test]
    fn sr_47_a_bad_address_is_refused_without_showing_its_password() {
        let message = refused("", &[("DATABASE_URL", "postgres://ada:hunter2@db:port/x")]);
        assert!(
            message.starts_with("environment DATABASE_URL: database.url cannot be used\n  hint: a PostgreSQL address"),
            "{message}"
        );
        assert!(!message.contains("hunter2"));
    }

    #[test]
    fn sr_47_an_unknown_option_is_named_without_its_value() {
        let said = refused("", &[("DATABASE_URL", "postgres://ada:hunter2@db/x?sslmod=hunter2&sslpassword=hunter2")]);
        assert!(said.contains("did you mean `sslmode`?") && said.contains("`sslpassword`"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_direct_address_leads_to_the_same_schema_without_a_pooler() {
        let url = ("DATABASE_URL", "postgres://ada:hunter2@pool/x?pgbouncer=true&schema=auth");
        let direct = |direct| [url, ("DATABASE_DIRECT_URL", direct)];
        settings("", &direct("postgres://ada:hunter2@db/x"));
        for (address, problem) in [
            ("postgres://ada:hunter2@db/x?pgbouncer=true", "without pgbouncer=true"),
            ("postgres://ada:hunter2@db/x?schema=other", "the same schema"),
            ("sqlite:///x.db", "cannot be used"),
        ] {
            let said = refused("", &direct(address));
            assert!(said.contains(problem) && !said.contains("hunter2"), "{said}");
        }
        assert!(refused("", &[("DATABASE_DIRECT_URL", "postgres://db/x")]).contains("has no effect"));
    }

    #[test]
    fn the_pool_is_a_range() {
        let database = settings("", &[("DATABASE_POOL_MIN", "2"), ("DATABASE_POOL_MAX", "20")]).database;
        assert_eq!((database.pool_min, database.pool_max), (2, 20));
        assert!(
            refused("[database]\npool_min = 20\n", &[])
                .contains("portcullis.toml:2: database.pool_min is 20, which is more than pool_max")
        );
        assert!(refused("[database]\npool_max = 0\n", &[]).contains("a whole number from 1 to 1000"));
    }
}
