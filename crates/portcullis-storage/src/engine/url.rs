//! The database's address (`DATABASE_URL`).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use portcullis_model::{InvalidInput, SecretString};
use sqlx::postgres::PgConnectOptions;

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
        /// The whole address, including the password.
        url: SecretString,
    },
}

impl DatabaseUrl {
    /// Parses `sqlite:///absolute/path` or `postgres://user:password@host:port/database`.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            if !path.starts_with('/') || path.ends_with('/') {
                return Err(InvalidInput("a SQLite address is sqlite:// and the file's absolute path (sqlite:///var/lib/portcullis/portcullis.db)".into()));
            }
            if path.contains('?') {
                return Err(InvalidInput("a SQLite address takes no options after ?".into()));
            }
            return Ok(Self::sqlite(path));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            // The parser's message may repeat parts of the address, including the password.
            return match PgConnectOptions::from_str(text) {
                Ok(_) => Ok(Self::Postgres { url: SecretString::new(text) }),
                Err(_) => Err(InvalidInput(
                    "a PostgreSQL address is postgres://user:password@host:5432/database, special characters in the password percent-encoded"
                        .into(),
                )),
            };
        }
        Err(InvalidInput("a database address begins with sqlite:// or postgres://".into()))
    }

    /// Returns the address of the SQLite file at `path`.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite { path: path.into() }
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
            Self::Postgres { url } => match PgConnectOptions::from_str(url.expose()) {
                Ok(options) => write!(f, "postgres://{}", address(&options)),
                Err(_) => f.write_str("postgres://…"),
            },
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns `host:port/database`, without user and password.
pub(crate) fn address(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{}/{database}", socket.display()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
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
    fn sr_47_the_password_is_never_printed() {
        let url = DatabaseUrl::parse("postgres://ada:hunter2@db.example/gate").expect("valid");
        assert!(!format!("{url} {url:?}").contains("hunter2"));
        let refused = DatabaseUrl::parse("postgres://ada:hunter2@db:port/gate").expect_err("no port");
        assert!(!refused.to_string().contains("hunter2"));
    }

    #[test]
    fn other_addresses_are_refused() {
        for bad in ["", "mysql://a/b", "sqlite://relative.db", "sqlite:///", "sqlite:///a.db?mode=ro", "/tmp/a.db"] {
            assert!(DatabaseUrl::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
