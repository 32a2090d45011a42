//! The schema: migrations, an unfinished move, and the rights of the user.

use portcullis_model::Finding;

use super::unreadable;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::open_error::OpenError;
use crate::engine::options::{MigrateMode, StoreOptions};
use crate::migrate::unfinished_move::is_unfinished;
use crate::migrate::{MigrationStatus, Migrator};

const SCHEMA: &str = "database.schema";
const RIGHTS: &str = "database.rights";

/// Looks at the schema, and returns the connection and whether this program can read the tables.
pub(super) async fn examine(
    on: DirectConnection,
    options: &StoreOptions,
    found: &mut Vec<Finding>,
) -> (DirectConnection, bool) {
    let mut migrator = Migrator::over(on, options);
    let status = migrator.status().await;
    let serves = status.as_ref().is_ok_and(|status| status.serves);
    found.push(match &status {
        Ok(status) => judge(status, options.migrate),
        Err(error) => of_error(SCHEMA, error),
    });
    if serves {
        found.push(match migrator.check_rights().await {
            Ok(()) => Finding::pass(RIGHTS, "the user may read and change every table"),
            Err(error) => of_error(RIGHTS, &error),
        });
    }
    let mut on = migrator.into_connection();
    match is_unfinished(&mut on).await {
        Ok(false) => {}
        Ok(true) => found.push(of_error("database.move", &OpenError::UnfinishedMove)),
        Err(error) => found.push(unreadable("database.move", &error)),
    }
    (on, serves)
}

fn judge(status: &MigrationStatus, mode: MigrateMode) -> Finding {
    let MigrationStatus { found, known, pending, serves, .. } = status;
    let migrates = mode == MigrateMode::Auto;
    match (serves, pending.len()) {
        (true, _) if found > known => {
            Finding::pass(SCHEMA, format!("schema {found}, of a newer version; this version ({known}) runs on it"))
        }
        (true, _) => Finding::pass(SCHEMA, format!("schema {found}, up to date")),
        (false, 0) => of_error(SCHEMA, &status.newer_schema(None)),
        (false, count) => {
            let text = format!("schema {found}; this version needs {known}: {count} migrations are pending");
            match migrates {
                true => Finding::warn(
                    SCHEMA,
                    text,
                    "the next `portcullis serve` applies them; `portcullis migrate plan` shows them",
                ),
                false => Finding::fail(
                    SCHEMA,
                    text,
                    "run `portcullis migrate up`; database.migrate is off, so `serve` does not",
                ),
            }
        }
    }
}

fn of_error(check: &str, error: &OpenError) -> Finding {
    Finding::error(check, error, error.hint())
}
