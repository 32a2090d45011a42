//! Facts about the installation, which all its replicas share.

use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::store::Store;

/// The fact that changes with every restore.
pub const GENERATION: &str = "generation";

static GET: Sql = Sql::select("instance", "SELECT value FROM instance WHERE key = $1");
static PUT: Sql =
    Sql::insert("instance", "INSERT INTO instance (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING");

impl Store {
    /// Returns the value of a key.
    pub async fn instance_value(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.one(&GET, vec![key.into()]).await?.map(|row| row.read("value")).transpose()
    }

    /// Sets a key that has no value yet, and returns the key's value, which is the same on every replica.
    pub async fn instance_value_or_insert(&self, key: &str, value: &str) -> Result<String, StoreError> {
        if let Some(known) = self.instance_value(key).await? {
            return Ok(known);
        }
        self.execute(&PUT, vec![key.into(), value.into()]).await?;
        let stored = self.instance_value(key).await?;
        stored.ok_or_else(|| StoreError::corrupt("a value that was just inserted cannot be found"))
    }
}
