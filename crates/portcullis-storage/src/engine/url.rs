//! The database's address (`DATABASE_URL`).

use std::fmt;
use std::path::PathBuf;

use portcullis_model::InvalidInput;

use super::postgres_url::PostgresUrl;

/// A database's address. Its `Display` and `Debug` never show the password.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A SQLite file on this machine, created if absent.
    Sqlite {
        /// Absolute path of the file, whose folder must exist.
        path: PathBuf,
    },
    /// A PostgreSQL database.
    Postgres {
        /// The address, with its password and options.
        url: PostgresUrl,
    },
}

impl DatabaseUrl {
    /// Parses `sqlite:///absolute/path` or `postgres://user:password@host:port/database`.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return Self::parse_sqlite(path);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return PostgresUrl::parse(text).map(|url| Self::Postgres { url });
        }
        Err(InvalidInput("a database address begins with sqlite:// or postgres://".into()))
    }

    fn parse_sqlite(path: &str) -> Result<Self, InvalidInput> {
        if !path.starts_with('/') || path.ends_with('/') {
            return Err(InvalidInput("a SQLite address is sqlite:// and the file's absolute path (sqlite:///var/lib/portcullis/portcullis.db)".into()));
        }
        match path.split_once('?') {
            None => Ok(Self::sqlite(path)),
            Some((_, options)) => {
                let names: Vec<&str> =
                    options.split('&').filter_map(|option| option.split_once('=')).map(|(name, _)| name).collect();
                let named = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
                Err(InvalidInput(format!(
                    "a SQLite address takes no options after ?{named}: the file is created if absent, in WAL mode, and \
                     database.acquire_timeout is the longest wait for its lock"
                )))
            }
        }
    }

    /// Returns the address of the SQLite file at `path`.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite { path: path.into() }
    }

    /// Returns whether both are the same, passwords and options included.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite { path }, Self::Sqlite { path: other }) => path == other,
            (Self::Postgres { url }, Self::Postgres { url: other }) => url.is_same(other),
            _ => false,
        }
    }

    /// Returns `sqlite` or `postgresql`.
    pub fn engine(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres { .. } => "postgresql",
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => write!(f, "sqlite://{}", path.display()),
            Self::Postgres { url } => fmt::Display::fmt(url, f),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { .. } => fmt::Display::fmt(self, f),
            Self::Postgres { url } => fmt::Debug::fmt(url, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_either_engine_is_parsed() {
        assert_eq!(DatabaseUrl::parse("sqlite:///tmp/a.db").expect("valid").to_string(), "sqlite:///tmp/a.db");
        let url = DatabaseUrl::parse("postgres://ada:s%40cret@db.example:5433/gate").expect("valid");
        assert_eq!(url.engine(), "postgresql");
        assert_eq!(url.to_string(), "postgres://db.example:5433/gate");
    }

    #[test]
    fn other_addresses_are_refused() {
        for bad in ["", "mysql://a/b", "sqlite://relative.db", "sqlite:///", "sqlite:///a.db?mode=ro", "/tmp/a.db"] {
            assert!(DatabaseUrl::parse(bad).is_err(), "{bad:?} was accepted");
        }
        let said = DatabaseUrl::parse("sqlite:///a.db?mode=ro&key=hunter2").expect_err("options").to_string();
        assert!(said.contains("(mode, key)") && !said.contains("hunter2"), "{said}");
    }
}
