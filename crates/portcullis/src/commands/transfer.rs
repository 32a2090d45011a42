//! `portcullis move`: copies all data from one database to another.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use portcullis_model::SecretString;
use portcullis_settings::Settings;
use portcullis_storage::{DatabaseUrl, TransferProgress, TransferredTable};
use serde_json::{Value, json};

use super::output::{Failure, print, print_error, print_json};
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
    let mut progress = Progress::new(arguments.format);
    let begun = Instant::now();
    let moving = crate::assembly::offline::transfer(settings, &from, &to, arguments.restart, &mut progress);
    let moved = runtime.block_on(Box::pin(moving));
    progress.end();
    let tables = moved.map_err(|error| Failure::of_error(&error).optional_hint(error.hint()))?;
    show((&from, &to), arguments.format, &tables, (progress.carried, begun.elapsed().as_secs_f64()));
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

/// Returns the rows per second, as a whole number.
fn rate(rows: u64, seconds: f64) -> String {
    let rows = u32::try_from(rows).map_or(f64::MAX, f64::from);
    format!("{:.0}", rows / seconds.max(0.001))
}

/// The rows of a table between two lines of progress.
const ROWS_PER_LINE: u64 = 100_000;

/// The progress of the move: a bar on a terminal, lines elsewhere, nothing with `--json`.
struct Progress {
    bar: Option<ProgressBar>,
    lines: bool,
    /// The rows that this run has copied.
    carried: u64,
    table: TableProgress,
}

/// The progress of one table.
struct TableProgress {
    name: &'static str,
    rows: u64,
    carried_before: u64,
    carried: u64,
    begun: Instant,
}

impl Progress {
    fn new(format: Format) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self {
            bar: (is_terminal && !format.json)
                .then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())),
            lines: !is_terminal && !format.json,
            carried: 0,
            table: TableProgress { name: "", rows: 0, carried_before: 0, carried: 0, begun: Instant::now() },
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl TransferProgress for Progress {
    fn table(&mut self, name: &'static str, rows: u64, carried_before: u64) {
        self.table = TableProgress { name, rows, carried_before, carried: 0, begun: Instant::now() };
        if let Some(bar) = &self.bar {
            let form = "{msg:16} [{bar:40}] {human_pos}/{human_len} rows, {per_sec}, {eta} left";
            bar.set_style(ProgressStyle::with_template(form).expect("the template is valid"));
            bar.set_message(name);
            bar.reset();
            bar.set_length(rows);
            bar.set_position(carried_before);
        }
        if self.lines {
            let before =
                if carried_before > 0 { format!(", {carried_before} of them copied before") } else { String::new() };
            print_error(&format!("{name}: {rows} rows{before}\n"));
        }
    }

    fn copied(&mut self, rows: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(rows);
        }
        self.carried += rows;
        let TableProgress { name, rows: all, carried_before, carried, begun } = &mut self.table;
        *carried += rows;
        if self.lines && *carried / ROWS_PER_LINE > (*carried - rows) / ROWS_PER_LINE {
            let speed = rate(*carried, begun.elapsed().as_secs_f64());
            print_error(&format!("{name}: {} of {all} rows, {speed} rows/s\n", *carried_before + *carried));
        }
    }

    fn comparing(&mut self) {
        if let Some(bar) = &self.bar {
            bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is valid"));
            bar.set_message("comparing both databases");
            bar.tick();
        }
        if self.lines {
            print_error("comparing both databases\n");
        }
    }
}
