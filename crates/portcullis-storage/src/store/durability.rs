//! Whether the engine is set up to keep what it has acknowledged.

use crate::engine::dialect::Dialect;
use crate::engine::error::StoreError;
use crate::engine::statement::Sql;
use crate::store::Store;

impl Store {
    /// The engine's settings that durability rests on, as the writing connection has them: on SQLite
    /// `journal_mode` (wal), `synchronous` (2, FULL) and `foreign_keys` (1); on PostgreSQL `fsync`,
    /// `full_page_writes` and `synchronous_commit`.
    pub async fn durability(&self) -> Result<Vec<(&'static str, String)>, StoreError> {
        let engine = &self.shared().pools;
        let names = match engine.runner.dialect {
            Dialect::Sqlite => ["journal_mode", "synchronous", "foreign_keys"],
            Dialect::Postgres => ["fsync", "full_page_writes", "synchronous_commit"],
        };
        let mut settings = Vec::with_capacity(names.len());
        for name in names {
            settings.push((name, self.setting(name).await?));
        }
        Ok(settings)
    }

    async fn setting(&self, name: &'static str) -> Result<String, StoreError> {
        let engine = &self.shared().pools;
        let verb = match engine.runner.dialect {
            Dialect::Sqlite => "PRAGMA",
            Dialect::Postgres => "SHOW",
        };
        let read = Sql::select("settings", "").with_text(format!("{verb} {name}"));
        let mut lease = engine.writer.acquire().await?;
        let rows = engine.runner.all(&mut lease.connection, &read, vec![]).await?;
        let row = rows.first().ok_or_else(|| StoreError::corrupt(format!("{name} has no value")))?;
        row.get::<String>(name).or_else(|_| row.get::<i64>(name).map(|number| number.to_string()))
    }
}
