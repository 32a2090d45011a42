//! Opening a store: the schema first, then the pools.

use std::sync::Arc;

use super::{Database, Pooled, SharedState, Store, database_clock};
use crate::audit::Gathering;
use crate::audit_addresses::AuditAddresses;
use crate::engine::open_error::OpenError;
use crate::engine::options::{MigrateMode, StoreOptions};
use crate::engine::pools::Pools;
use crate::engine::url::DatabaseUrl;
use crate::migrate::Migrator;
use crate::migrate::unfinished_move::is_unfinished;
use crate::revocation_log::Announcer;

impl Store {
    /// Opens the database, creating and migrating it as needed.
    pub async fn open(options: StoreOptions) -> Result<Self, OpenError> {
        prepare(&options).await?;
        let pools = Pools::open(&options).await?;
        let StoreOptions { clock, random, metrics, .. } = options;
        database_clock::register_metric(&metrics, &clock);
        let shared = SharedState {
            pools,
            clock,
            replica: random.hex::<8>(),
            random,
            announcer: Announcer::default(),
            audit_addresses: AuditAddresses::default(),
            audit_gathering: Gathering::default(),
        };
        let store: Self = Database { access: Pooled { shared: Arc::new(shared) } };
        store.follow_clock().await;
        Ok(store)
    }
}

/// Brings the schema up to date, and refuses the target of an unfinished move.
async fn prepare(options: &StoreOptions) -> Result<(), OpenError> {
    if let (MigrateMode::Command, DatabaseUrl::Sqlite { path }) = (options.migrate, &options.url)
        && !path.exists()
    {
        return Err(OpenError::NoDatabase { path: path.clone() });
    }
    let mut migrator = Migrator::connect(options).await?;
    let prepared = async {
        Box::pin(migrator.prepare(options.migrate)).await?;
        migrator.check_rights().await
    };
    let prepared = prepared.await;
    let mut connection = migrator.into_connection();
    let unfinished = is_unfinished(&mut connection).await;
    connection.close().await;
    prepared?;
    if unfinished? { Err(OpenError::UnfinishedMove) } else { Ok(()) }
}
