//! The table of users of another program, in PostgreSQL.

use portcullis_identity::ImportRow;
use portcullis_model::SecretString;
use portcullis_settings::Settings;
use portcullis_storage::{DatabaseUrl, ForeignUser, ForeignUsers};

use super::import_run::ImportRun;
use crate::commands::output::Failure;

/// The most rows that are read at a time.
const BATCH_ROWS: u32 = 1_000;

/// Imports every row of a table.
pub(super) async fn from_table(
    settings: &Settings,
    url: &str,
    table: &str,
    run: &mut ImportRun<'_>,
) -> Result<(), Failure> {
    let url = DatabaseUrl::parse(url).map_err(|error| Failure::of_error(&error))?;
    let opened = Box::pin(crate::assembly::offline::open_foreign_users(settings, &url, table)).await;
    let mut users: ForeignUsers = opened.map_err(|error| {
        Failure::of_error(&error).maybe_hint(error.hint().map(|hint| hint.replace("DATABASE_URL", "the address")))
    })?;
    run.set_total(users.total());
    let mut place = 0;
    loop {
        let rows = users.next(BATCH_ROWS).await.map_err(|error| Failure::of_error(&error))?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            place += 1;
            run.add(place, foreign(row)).await?;
        }
    }
}

fn foreign(user: ForeignUser) -> ImportRow {
    ImportRow {
        id: user.id,
        email: user.email.unwrap_or_default(),
        username: user.username.unwrap_or_default(),
        first_name: user.first_name.unwrap_or_default(),
        last_name: user.last_name.unwrap_or_default(),
        avatar: None,
        password: user.password.map(SecretString::new),
        role: user.role,
        is_active: user.is_active,
        is_email_verified: user.is_email_verified,
        created_at: user.created_at,
        permissions: Vec::new(),
    }
}
