//! Recognises a pooler that gives each transaction another connection to the server, such as PgBouncer in transaction mode.
//!
//! Settings, session locks and LISTEN do not last there, and a prepared statement may belong to another client.

use std::time::Duration;

use sqlx::Error as SqlxError;
use sqlx::error::DatabaseError;

use super::connection::{Connection, Target};

/// Longest wait for the second connection. Without an answer nothing is known, and the start goes on.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns whether two connections that are open at a time share one process of the server.
pub(crate) async fn shares_sessions(first: &mut Connection, target: &Target) -> Result<bool, SqlxError> {
    if !first.has_session() {
        return Ok(false);
    }
    let first = first.server_process().await?;
    let second = async {
        let mut second = Box::pin(Connection::open(target)).await?;
        let process = second.server_process().await;
        let _ = second.close().await;
        process
    };
    match tokio::time::timeout(PROBE_TIMEOUT, second).await {
        Ok(Ok(second)) => Ok(first == second && first.is_some()),
        // The server may have no connection left, which is no reason not to start.
        Ok(Err(_)) | Err(_) => Ok(false),
    }
}

/// Returns whether an error comes from prepared statements that another client's session holds.
pub(crate) fn is_about_foreign_statements(error: &SqlxError) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.as_deref(), Some("42P05" | "26000"))
}
