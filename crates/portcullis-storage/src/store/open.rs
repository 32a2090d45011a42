//! Opening a store: the schema first, then the pools.

use std::sync::Arc;

use super::{Database, Pooled, SharedState, Store};
use crate::audit_addresses::AuditAddresses;
use crate::engine::open_error::OpenError;
use crate::engine::options::StoreOptions;
use crate::engine::pools::Pools;
use crate::migrate::Migrator;
use crate::revocation_log::Announcer;
use crate::transfer;

impl Store {
    /// Opens the database, creating and migrating it as needed.
    pub async fn open(options: StoreOptions) -> Result<Self, OpenError> {
        prepare(&options).await?;
        let pools = Pools::open(&options).await?;
        let StoreOptions { clock, random, .. } = options;
        let shared = SharedState {
            pools,
            clock,
            replica: random.hex::<8>(),
            random,
            announcer: Announcer::default(),
            audit_addresses: AuditAddresses::default(),
        };
        Ok(Database { access: Pooled { shared: Arc::new(shared) } })
    }
}

/// Brings the schema up to date, and refuses the target of an unfinished move.
async fn prepare(options: &StoreOptions) -> Result<(), OpenError> {
    let mut migrator = Migrator::connect(options).await?;
    let prepared = Box::pin(migrator.prepare(options.migrate)).await;
    let mut connection = migrator.into_connection();
    let unfinished = transfer::is_unfinished(&mut connection).await;
    connection.close().await;
    prepared?;
    if unfinished? { Err(OpenError::UnfinishedMove) } else { Ok(()) }
}
