//! The progress of a command that goes through a database or a file: a bar on a terminal, lines elsewhere, nothing with
//! `--json`.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Format;
use super::output::print_error;

/// The rows of a table between two lines of progress.
const ROWS_PER_LINE: u64 = 100_000;
/// The lines of progress of a file.
const LINES_PER_FILE: u64 = 10;

/// Where progress is shown.
struct Display {
    bar: Option<ProgressBar>,
    lines: bool,
}

impl Display {
    fn new(format: Format) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self {
            bar: (is_terminal && !format.json)
                .then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())),
            lines: !is_terminal && !format.json,
        }
    }

    fn begin(&self, form: &str, name: &str, length: u64, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_style(ProgressStyle::with_template(form).expect("the template is valid"));
            bar.set_message(name.to_owned());
            bar.reset();
            bar.set_length(length);
            bar.set_position(position);
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The progress through the rows of each table.
pub(super) struct RowProgress {
    display: Display,
    /// The rows of all tables that this run has gone through.
    rows: u64,
    table: TableProgress,
}

/// The progress of one table.
struct TableProgress {
    name: &'static str,
    rows: u64,
    done_before: u64,
    done: u64,
    begun: Instant,
}

impl RowProgress {
    pub(super) fn new(format: Format) -> Self {
        let table = TableProgress { name: "", rows: 0, done_before: 0, done: 0, begun: Instant::now() };
        Self { display: Display::new(format), rows: 0, table }
    }

    /// Begins a table. An earlier run has done the first rows of it.
    pub(super) fn begin(&mut self, name: &'static str, rows: u64, done_before: u64) {
        self.table = TableProgress { name, rows, done_before, done: 0, begun: Instant::now() };
        let form = "{msg:16} [{bar:40}] {human_pos}/{human_len} rows, {per_sec}, {eta} left";
        self.display.begin(form, name, rows, done_before);
        if self.display.lines {
            let before = if done_before > 0 { format!(", {done_before} of them copied before") } else { String::new() };
            print_error(&format!("{name}: {rows} rows{before}\n"));
        }
    }

    /// Counts more rows of the table.
    pub(super) fn add(&mut self, rows: u64) {
        if let Some(bar) = &self.display.bar {
            bar.inc(rows);
        }
        self.rows += rows;
        let TableProgress { name, rows: all, done_before, done, begun } = &mut self.table;
        *done += rows;
        if self.display.lines && *done / ROWS_PER_LINE > (*done - rows) / ROWS_PER_LINE {
            let speed = rate(*done, begun.elapsed().as_secs_f64());
            print_error(&format!("{name}: {} of {all} rows, {speed} rows/s\n", *done_before + *done));
        }
    }

    /// Says what is done after the last row.
    pub(super) fn last_step(&self, step: &'static str) {
        if let Some(bar) = &self.display.bar {
            bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is valid"));
            bar.set_message(step);
            bar.tick();
        }
        if self.display.lines {
            print_error(&format!("{step}\n"));
        }
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        self.display.end();
    }

    /// The rows of all tables that this run has gone through.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }
}

/// The progress through the bytes of a file.
pub(super) struct ByteProgress {
    display: Display,
    bytes: u64,
    done: u64,
}

impl ByteProgress {
    pub(super) fn new(format: Format, name: &str, bytes: u64) -> Self {
        let display = Display::new(format);
        display.begin("{msg} [{bar:40}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left", name, bytes, 0);
        if display.lines {
            print_error(&format!("{name}: {bytes} bytes\n"));
        }
        Self { display, bytes, done: 0 }
    }

    /// Counts more bytes.
    pub(super) fn add(&mut self, bytes: u64) {
        if let Some(bar) = &self.display.bar {
            bar.inc(bytes);
        }
        let part = |done: u64| done * LINES_PER_FILE / self.bytes.max(1);
        if self.display.lines && part(self.done + bytes) > part(self.done) {
            print_error(&format!("{} of {} bytes\n", self.done + bytes, self.bytes));
        }
        self.done += bytes;
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        self.display.end();
    }
}

/// Returns the rows per second, as a whole number.
pub(super) fn rate(rows: u64, seconds: f64) -> String {
    let rows = u32::try_from(rows).map_or(f64::MAX, f64::from);
    format!("{:.0}", rows / seconds.max(0.001))
}
