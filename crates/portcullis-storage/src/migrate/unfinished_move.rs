//! A database that `portcullis move` has not filled yet: no program works on it until the move has finished.

use crate::engine::dialect::Dialect;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;

/// Returns whether a database is the target of an unfinished move.
pub(crate) async fn is_unfinished(on: &mut DirectConnection) -> Result<bool, StoreError> {
    let text = match on.runner.dialect {
        Dialect::Sqlite => {
            "SELECT count(*) AS n FROM sqlite_master WHERE type = 'table' AND name = 'transfer_progress'"
        }
        Dialect::Postgres => {
            "SELECT count(*) AS n FROM pg_catalog.pg_tables \
             WHERE schemaname = current_schema() AND tablename = 'transfer_progress'"
        }
    };
    let rows = on.all(text.to_owned(), vec![]).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.count("n"))? > 0)
}
