//! The database's part of `portcullis doctor`: what an operator wants to know about a database that may not be in order.
//!
//! It changes nothing. It opens a connection of its own, and also to a database on which the gateway would refuse to start.

mod contents;
mod locks;
mod schema;
mod server;

use std::time::Duration;

use portcullis_model::Finding;

use crate::engine::connect;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;
use crate::engine::open_error::OpenError;
use crate::engine::options::StoreOptions;
use crate::engine::url::DatabaseUrl;
use crate::errors::ErrorGroup;
use crate::migrate::{MigrationStatus, Migrator};

pub use contents::ClientAddresses;

/// A look at a database, over one connection.
pub struct Diagnosis {
    on: DirectConnection,
    options: StoreOptions,
}

impl Diagnosis {
    /// Connects, and reports how. `None` if there is no connection.
    pub async fn open(options: StoreOptions, found: &mut Vec<Finding>) -> Option<Self> {
        match Box::pin(connect(&options)).await {
            Ok(on) => Some(Self { on, options }),
            Err(OpenError::NoDatabase { path }) => {
                let hint = "`portcullis serve` makes it at the first start; if there was a database, DATABASE_URL or \
                            PORTCULLIS_DATA_DIR names another place";
                found.push(Finding::warn(CONNECTION, format!("there is no database at {} yet", path.display()), hint));
                None
            }
            Err(error) => {
                found.push(Finding::error(CONNECTION, &error, error.hint()));
                None
            }
        }
    }

    /// Looks at the server, the schema, the locks and the clock.
    pub async fn examine(&mut self, found: &mut Vec<Finding>) {
        server::examine(&mut self.on, &self.options, found).await;
        locks::examine(&mut self.on, LONG_LOCK, found).await;
    }

    /// Looks at the schema, and returns whether this program can read the tables.
    pub async fn examine_schema(self, found: &mut Vec<Finding>) -> Option<Self> {
        let Self { on, options } = self;
        let (on, can_read) = schema::examine(on, &options, found).await;
        can_read.then_some(Self { on, options })
    }

    /// Looks at what the tables say about keys, jobs and mails.
    pub async fn examine_contents(&mut self, found: &mut Vec<Finding>) {
        contents::examine(&mut self.on, &self.options.clock, found).await;
    }

    /// Returns the addresses from which users signed in last.
    pub async fn client_addresses(&mut self) -> Result<ClientAddresses, StoreError> {
        contents::client_addresses(&mut self.on).await
    }

    /// Returns the state of the schema.
    pub async fn migrations(self) -> (Self, Result<MigrationStatus, OpenError>) {
        let Self { on, options } = self;
        let mut migrator = Migrator::over(on, &options);
        let status = migrator.status().await;
        (Self { on: migrator.into_connection(), options }, status)
    }

    /// Returns the gateway's own errors, the last seen first.
    pub async fn last_errors(&mut self, most: u64) -> Result<Vec<ErrorGroup>, StoreError> {
        contents::last_errors(&mut self.on, most).await
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.on.close().await;
    }
}

const CONNECTION: &str = "database.connection";
/// A lock that is held for longer than this makes requests wait.
const LONG_LOCK: Duration = Duration::from_secs(1);

async fn connect(options: &StoreOptions) -> Result<DirectConnection, OpenError> {
    let connection = match &options.url {
        DatabaseUrl::Sqlite { path } if !path.exists() => return Err(OpenError::NoDatabase { path: path.clone() }),
        DatabaseUrl::Sqlite { .. } => Box::pin(connect::open_read_only(options)).await?,
        DatabaseUrl::Postgres { .. } => Box::pin(connect::open_any_postgres(options)).await?,
    };
    Ok(DirectConnection { runner: connect::runner(options), connection })
}

/// Reports that a check could not read what it needs.
fn unreadable(check: &str, error: &StoreError) -> Finding {
    let hint = "the database user needs the right to read; the log of the database says more";
    Finding::error(check, error, Some(hint.to_owned()))
}
