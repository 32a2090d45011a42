//! The address of a PostgreSQL database: libpq's options by their names, and those that other programs write into the same
//! variable. An option that would have no effect is refused, because an ignored `sslmod=verify-full` connects unverified.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use portcullis_model::{InvalidInput, SecretString};
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::postgres_options::Options;
use super::schema_name::SchemaName;

/// The address of a PostgreSQL database. Its `Display` and `Debug` never show user, password or options.
#[derive(Clone)]
pub struct PostgresUrl {
    /// The address with the options that the driver knows.
    driver: SecretString,
    /// An address of the same database that leads past a pooler.
    direct: Option<Box<PostgresUrl>>,
    schema: Option<SchemaName>,
    names_application: bool,
    is_pooled: bool,
    chooses_tls: bool,
    files: Vec<(&'static str, PathBuf)>,
    connect_timeout: Option<Duration>,
    statement_timeout: Option<Duration>,
}

/// The options that name files.
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];
const FORM: &str = "a PostgreSQL address is postgres://user:password@host:5432/database, special characters in the \
    password percent-encoded";

impl PostgresUrl {
    /// Parses an address. The error names every option that cannot be used, and repeats no value.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        // The parser's message may repeat parts of the address, including the password.
        let form = || InvalidInput(FORM.to_owned());
        let mut url = Url::parse(text).map_err(|_| form())?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err(form());
        }
        if url.fragment().is_some() {
            return Err(InvalidInput("# is not part of an address: write %23 in a password or a name".to_owned()));
        }
        let options = Options::read(&url)?;
        let schema = options.value("schema").map(|name| SchemaName::parse(&name)).transpose()?;
        let (connect_timeout, statement_timeout) = (options.seconds("connect_timeout")?, options.limit()?);
        url.set_query(None);
        let driver = options.of_the_driver();
        if !driver.is_empty() {
            url.query_pairs_mut().extend_pairs(driver);
        }
        let names_application = options.value("application_name").is_some();
        let chooses_tls = options.value("sslmode").is_some();
        let is_pooled = options.value("pgbouncer").is_some_and(|value| value == "true");
        let files = FILES.iter().filter_map(|name| Some((*name, PathBuf::from(options.value(name)?)))).collect();
        PgConnectOptions::from_str(url.as_str()).map_err(|_| form())?;
        let driver = SecretString::new(url.as_str());
        Ok(Self {
            driver,
            direct: None,
            schema,
            names_application,
            is_pooled,
            chooses_tls,
            files,
            connect_timeout,
            statement_timeout,
        })
    }

    /// Returns the address as the driver takes it, including the password. It does not choose the schema.
    pub fn expose(&self) -> &str {
        self.driver.expose()
    }

    /// Adds an address of the same database that leads past a pooler, for migrations and notifications
    /// (`database.direct_url`).
    pub fn with_direct(mut self, direct: Self) -> Result<Self, InvalidInput> {
        if direct.is_pooled {
            return Err(InvalidInput(
                "the direct address leads to the server itself, without pgbouncer=true".to_owned(),
            ));
        }
        if direct.schema.is_some() && direct.schema != self.schema {
            return Err(InvalidInput("both addresses name the same schema".to_owned()));
        }
        self.direct = Some(Box::new(Self { schema: self.schema.clone(), ..direct }));
        Ok(self)
    }

    /// Returns whether both are the same, passwords and options included.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same_direct = match (&self.direct, &other.direct) {
            (Some(direct), Some(other)) => direct.is_same(other),
            (None, None) => true,
            _ => false,
        };
        is_same_direct
            && self.driver.expose() == other.driver.expose()
            && self.leads_where(other)
            && (self.connect_timeout, self.statement_timeout) == (other.connect_timeout, other.statement_timeout)
    }

    /// Returns whether both lead to the same tables of the same server, maybe with another login or other options.
    pub(crate) fn leads_where(&self, other: &Self) -> bool {
        // What `Debug` shows is what a login does not change.
        format!("{self:?}") == format!("{other:?}") && self.is_pooled == other.is_pooled
    }

    /// Returns the address that leads past a pooler, or else this one.
    pub(crate) fn direct(&self) -> &Self {
        self.direct.as_deref().unwrap_or(self)
    }

    /// Returns the schema that holds the tables; `None` for the one that the server chooses.
    pub fn schema(&self) -> Option<&SchemaName> {
        self.schema.as_ref()
    }

    /// Returns whether the address names the application, as `application_name`.
    pub(crate) fn names_application(&self) -> bool {
        self.names_application
    }

    /// Returns whether the address leads to a pooler in transaction mode (`pgbouncer=true`).
    pub fn is_pooled(&self) -> bool {
        self.is_pooled
    }

    /// Returns whether the address says how the connection is encrypted.
    pub(crate) fn chooses_tls(&self) -> bool {
        self.chooses_tls
    }

    /// Returns the files of certificates and keys, with the options that name them.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        self.files.clone().into_iter()
    }

    /// Returns the longest time that connecting may take.
    pub(crate) fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// Returns the longest run of a statement, in place of `database.statement_timeout`.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        self.statement_timeout
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PgConnectOptions::from_str(self.driver.expose()) {
            Ok(options) => write!(f, "postgres://{}", address(&options))?,
            Err(_) => f.write_str("postgres://…")?,
        }
        match &self.schema {
            Some(schema) => write!(f, "?schema={schema}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        match &self.direct {
            Some(direct) => write!(f, " (directly {direct})"),
            None => Ok(()),
        }
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
mod tests;
