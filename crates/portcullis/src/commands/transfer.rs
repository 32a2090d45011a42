//! `portcullis move`: copies all data from one database to another.

use std::convert::Infallible;
use std::time::Instant;

use portcullis_model::SecretString;
use portcullis_settings::Settings;
use portcullis_storage::{DatabaseUrl, TransferProgress, TransferredTable};
use serde_json::{Value, json};

use super::output::{Failure, print, print_json};
use super::progress::{RowProgress, rate};
use super::{Format, runtime, table};

#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The database to move from; it is only read
    #[arg(long, value_name = "URL", value_parser = secret)]
    from: SecretString,
    /// The database to move to; it must be empty
    #[arg(long, value_name = "URL", value_parser = secret)]
    to: SecretString,
    /// Delete the rows of an unfinished move from the target, and start again
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    format: Format,
}

/// Accepts any text. It is parsed later, because the messages of clap would show the argument with its password.
#[expect(clippy::unnecessary_wraps, reason = "clap needs a value parser that returns a Result")]
fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::new(text))
}

fn parse(flag: &str, text: &SecretString) -> Result<DatabaseUrl, Failure> {
    let parsed = DatabaseUrl::parse(text.expose());
    parsed.map_err(|reason| Failure::new(format!("{flag} cannot be used")).hint(reason.to_string()))
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let (from, to) = (parse("--from", &arguments.from)?, parse("--to", &arguments.to)?);
    let runtime = runtime::start()?;
    let mut progress = RowProgress::new(arguments.format);
    let begun = Instant::now();
    let moving = crate::assembly::offline::transfer(settings, &from, &to, arguments.restart, &mut progress);
    let moved = runtime.block_on(Box::pin(moving));
    progress.end();
    let tables = moved.map_err(|error| Failure::of_error(&error).optional_hint(error.hint()))?;
    show((&from, &to), arguments.format, &tables, (progress.rows(), begun.elapsed().as_secs_f64()));
    Ok(())
}

fn show(ends: (&DatabaseUrl, &DatabaseUrl), format: Format, tables: &[TransferredTable], took: (u64, f64)) {
    let (carried, seconds) = took;
    let rows: u64 = tables.iter().map(|table| table.checksum.rows).sum();
    if format.json {
        let list = tables.iter();
        let list = list
            .map(|table| json!({ "table": table.name, "rows": table.checksum.rows, "checksum": table.checksum.hex() }));
        print_json(&json!({
            "from": ends.0.to_string(),
            "to": ends.1.to_string(),
            "rows": rows,
            "carried": carried,
            "seconds": seconds,
            "tables": list.collect::<Vec<Value>>(),
        }));
        return;
    }
    let row = |table: &TransferredTable| {
        vec![table.name.to_owned(), table.checksum.rows.to_string(), table.checksum.hex()[..16].to_owned()]
    };
    print(&table::render(&["TABLE", "ROWS", "CHECKSUM"], &tables.iter().map(row).collect::<Vec<_>>()));
    print(&format!(
        "Moved {carried} rows in {seconds:.1} s ({} rows/s with the comparison); both databases hold the same {rows} rows.\n\
         Start the server with the new DATABASE_URL and the same ENCRYPTION_KEY: passwords and sessions stay valid.\n",
        rate(carried, seconds)
    ));
}

impl TransferProgress for RowProgress {
    fn table(&mut self, name: &'static str, rows: u64, copied_before: u64) {
        self.begin(name, rows, copied_before);
    }

    fn copied(&mut self, rows: u64) {
        self.add(rows);
    }

    fn comparing(&mut self) {
        self.last_step("comparing both databases");
    }
}
