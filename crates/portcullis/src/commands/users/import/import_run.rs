//! An import in progress: rows are collected into transactions, outcomes are counted, refusals are reported.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use portcullis_identity::{Caller, Identity, ImportRow, RowOutcome};
use serde_json::json;

use crate::commands::Format;
use crate::commands::output::{Failure, print, print_error, print_json};
use crate::commands::users::describe;

/// The most users in one transaction.
const BATCH: usize = 1_000;
/// The most refusals that are printed; the report has all of them.
const MAX_PRINTED: u64 = 20;

/// An import in progress: the rows that wait for a transaction, and the counts of outcomes.
pub(super) struct ImportRun<'a> {
    identity: &'a Identity,
    format: Format,
    dry_run: bool,
    report: Option<BufWriter<File>>,
    bar: Option<ProgressBar>,
    pending: Vec<(u64, ImportRow)>,
    begun: Instant,
    made: u64,
    existing: u64,
    refused: u64,
}

impl<'a> ImportRun<'a> {
    pub(super) fn new(identity: &'a Identity, format: Format, dry_run: bool, report: Option<BufWriter<File>>) -> Self {
        let shows = std::io::stderr().is_terminal() && !format.json;
        let bar = shows.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template("{spinner} {human_pos} users, {per_sec}").expect("the template is valid"),
            );
            bar
        });
        Self {
            identity,
            format,
            dry_run,
            report,
            bar,
            pending: Vec::with_capacity(BATCH),
            begun: Instant::now(),
            made: 0,
            existing: 0,
            refused: 0,
        }
    }

    /// Sets the total number of users for the progress bar.
    pub(super) fn set_total(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            let form = "[{bar:40}] {human_pos}/{human_len} users, {per_sec}, {eta} left";
            bar.set_style(ProgressStyle::with_template(form).expect("the template is valid"));
        }
    }

    pub(super) async fn add(&mut self, place: u64, row: ImportRow) -> Result<(), Failure> {
        self.pending.push((place, row));
        if self.pending.len() == BATCH { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        let rows = std::mem::replace(&mut self.pending, Vec::with_capacity(BATCH));
        if rows.is_empty() {
            return Ok(());
        }
        let names: Vec<(u64, String)> = rows.iter().map(|(place, row)| (*place, row.email.clone())).collect();
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        let outcomes = self.identity.import.users(rows, self.dry_run, &Caller::shell()).await;
        let outcomes = outcomes.map_err(|error| {
            describe(&error).hint("remove the cause and run the command again: users that were imported are skipped")
        })?;
        for ((place, email), outcome) in names.into_iter().zip(outcomes) {
            match outcome {
                RowOutcome::Created => self.made += 1,
                RowOutcome::AlreadyExists => self.existing += 1,
                RowOutcome::Refused(reason) => self.refuse(place, &email, &reason)?,
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.made + self.existing + self.refused);
        }
        Ok(())
    }

    pub(super) fn refuse(&mut self, place: u64, email: &str, reason: &str) -> Result<(), Failure> {
        self.refused += 1;
        if let Some(report) = &mut self.report {
            let line = json!({ "line": place, "email": email, "reason": reason });
            writeln!(report, "{line}").map_err(|error| report_failure(&error))?;
        }
        if self.refused <= MAX_PRINTED && !self.format.json {
            let line = format!("refused, line {place}, {email}: {reason}\n");
            match &self.bar {
                Some(bar) => bar.println(line.trim_end()),
                None => print_error(&line),
            }
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<(), Failure> {
        self.flush().await?;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some(mut report) = self.report.take() {
            report.flush().map_err(|error| report_failure(&error))?;
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        let Self { made, existing, refused, dry_run, .. } = self;
        if self.format.json {
            let summary = json!({ "imported": made, "alreadyThere": existing, "refused": refused, "seconds": seconds, "dryRun": dry_run });
            print_json(&summary);
        } else {
            let done = if dry_run { "Would import" } else { "Imported" };
            print(&format!(
                "{done} {made} users in {seconds:.1} s; {existing} existed already; {refused} were refused.\n"
            ));
        }
        match refused {
            0 => Ok(()),
            _ => Err(Failure::new(format!("{refused} users were refused")).hint(
                "correct the refused users (--report FILE lists all) and run the command again: the others are skipped",
            )),
        }
    }
}

fn report_failure(error: &std::io::Error) -> Failure {
    Failure::new(format!("the report cannot be written: {error}"))
        .hint("free space on the disk, or name another file with --report")
}
