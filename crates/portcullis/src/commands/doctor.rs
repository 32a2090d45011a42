//! `portcullis doctor`: the report.

use portcullis_model::Finding;
use portcullis_model::finding::Status;
use portcullis_settings::Sources;

use super::output::{Failure, Paint, print, print_json};
use super::{Format, runtime};

pub(super) fn run(mut sources: Sources, format: Format) -> Result<(), Failure> {
    let runtime = runtime::start()?;
    let found = runtime.block_on(Box::pin(crate::doctor::examine(&mut sources)));
    // A thread may still wait for a disk or a name server.
    runtime.shutdown_background();
    if format.json {
        print_json(&crate::doctor::document(&found));
    } else {
        print(&report(&found, Paint::for_output()));
    }
    match count(&found, Status::Fail) {
        0 => Ok(()),
        1 => Err(Failure::new("a check failed")),
        failed => Err(Failure::new(format!("{failed} checks failed"))),
    }
}

/// The report for people: a line for each check, and below it the fix and the details.
fn report(found: &[Finding], paint: Paint) -> String {
    let width = found.iter().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
    let indent = " ".repeat(STATUS_WIDTH + width + 4);
    let mut text = String::new();
    for Finding { check, status, found, hint, details } in found {
        let (word, colour) = match status {
            Status::Pass => ("ok", Paint::GREEN),
            Status::Warn => ("warning", Paint::YELLOW),
            Status::Fail => ("error", Paint::RED),
        };
        let padding = " ".repeat(STATUS_WIDTH - word.len());
        text.push_str(&format!("{}{padding}  {check:width$}  {}\n", paint.word(word, colour), one_line(found)));
        if let Some(hint) = hint {
            text.push_str(&format!("{indent}{} {}\n", paint.word("hint:", Paint::CYAN), one_line(hint)));
        }
        // A transcript is worth its room only where something is wrong.
        for line in details.iter().filter(|_| *status != Status::Pass) {
            text.push_str(&format!("{indent}| {}\n", one_line(line)));
        }
    }
    let of = |status, word: &str| match count(found, status) {
        1 => format!("1 {word}"),
        number => format!("{number} {word}s"),
    };
    let ok = count(found, Status::Pass);
    text.push_str(&format!("\n{ok} ok, {}, {}\n", of(Status::Warn, "warning"), of(Status::Fail, "error")));
    text
}

/// The width of the longest word for a status.
const STATUS_WIDTH: usize = "warning".len();

fn count(found: &[Finding], status: Status) -> usize {
    found.iter().filter(|finding| finding.status == status).count()
}

/// A finding may quote another program: no part of it may reach the terminal as a command.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_aligned_and_details_stand_with_errors() {
        let found = [
            Finding::pass("settings", "valid").details(vec!["not shown".to_owned()]),
            Finding::warn("disk.space", "little\x1b[2J", "make room"),
            Finding::fail("mail.login", "refused", "correct it").details(vec!["S: 535".to_owned()]),
        ];
        insta::assert_snapshot!(report(&found, Paint::NONE));
        assert!(report(&found, Paint::ALWAYS).contains("\u{1b}[1;31merror\u{1b}[0m  "));
    }
}
