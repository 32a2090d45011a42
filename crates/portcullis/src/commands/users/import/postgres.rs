//! The table of users of another program, in PostgreSQL.

use portcullis_settings::Settings;
use portcullis_storage::DatabaseUrl;
use serde_json::{Map, Value};

use super::columns::{Columns, Meaning};
use super::import_run::ImportRun;
use super::row::submit;
use crate::commands::output::Failure;

/// The most rows that are read at a time.
const BATCH_ROWS: u32 = 1_000;
/// The columns by which the rows are sorted: of two users with one address the older one is imported.
const ORDER: [&str; 2] = ["createdAt", "id"];

/// Imports every row of a table.
pub(super) async fn from_table(
    settings: &Settings,
    url: &str,
    table: &str,
    columns: &Columns,
    run: &mut ImportRun<'_>,
) -> Result<(), Failure> {
    let url = DatabaseUrl::parse(url)
        .map_err(|error| Failure::new("the address of the database cannot be used").hint(error.to_string()))?;
    let opened = Box::pin(crate::assembly::offline::open_foreign_table(settings, &url, table)).await;
    let failed = |error: portcullis_storage::OpenError| {
        Failure::of_error(&error).optional_hint(error.hint().map(|hint| hint.replace("DATABASE_URL", "the address")))
    };
    let source = opened.map_err(failed)?;
    columns.check(source.columns())?;
    let names: Vec<String> = source.columns().map(str::to_owned).collect();
    let chosen: Vec<(&str, &'static str)> = names
        .iter()
        .filter_map(|name| match columns.meaning(name) {
            Meaning::Column(column) => Some((name.as_str(), column)),
            Meaning::Ignored | Meaning::Unknown => None,
        })
        .collect();
    let order: Vec<&str> = ORDER
        .iter()
        .filter_map(|wanted| chosen.iter().find(|(_, column)| column == wanted).map(|(name, _)| *name))
        .collect();
    let read: Vec<&str> = chosen.iter().map(|(name, _)| *name).collect();
    let mut users = source.read(&read, &order).await.map_err(failed)?;
    run.set_total(users.total());
    let mut place = 0;
    loop {
        let rows = users.next(BATCH_ROWS).await.map_err(|error| Failure::of_error(&error))?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            place += 1;
            let members = chosen.iter().zip(row).map(|((_, column), value)| ((*column).to_owned(), Value::from(value)));
            submit(run, place, members.collect::<Map<String, Value>>()).await?;
        }
    }
}
