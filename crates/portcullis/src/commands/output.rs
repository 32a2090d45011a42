//! The output of commands: results on standard output, messages on standard error, colours only on a terminal.

use std::error::Error;
use std::io::{self, IsTerminal, Write};

use portcullis_secrets::StoreError;
use portcullis_settings::{Notice, Problems};
use serde::Serialize;

use crate::secret_store::LoadError;

/// The failure of a command: what happened, why, and how to fix it.
#[derive(Debug)]
pub(super) struct Failure {
    /// Problems that are printed before the message, each with its place and a hint.
    details: String,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { details: String::new(), message: message.into(), causes: Vec::new(), hint: None }
    }

    /// Makes a failure of an error and its causes. A cause that the message before it already contains is left out.
    pub(super) fn of_error(error: &dyn Error) -> Self {
        let mut failure = Self::new(error.to_string());
        let mut shown = failure.message.clone();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !shown.contains(&text) {
                shown.clone_from(&text);
                failure.causes.push(text);
            }
            source = cause.source();
        }
        failure
    }

    /// Makes a failure of the problems of settings.
    pub(super) fn of_settings(problems: &Problems) -> Self {
        let message = match problems.iter().len() {
            1 => "the settings have a problem".to_owned(),
            count => format!("the settings have {count} problems"),
        };
        Self { details: format!("{problems}\n"), ..Self::new(message) }
    }

    /// Makes a failure of a secret store that cannot be read.
    pub(super) fn of_store(error: &StoreError) -> Self {
        Self::of_error(error).hint(error.hint())
    }

    /// Adds lines that are printed before the message.
    pub(super) fn details(mut self, details: String) -> Self {
        self.details = details;
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn optional_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// What happened, in one sentence.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// What happened and its causes, in one line.
    pub(super) fn sentence(&self) -> String {
        let causes = self.causes.iter().map(String::as_str);
        std::iter::once(self.message.as_str()).chain(causes).collect::<Vec<_>>().join(": ")
    }

    pub(super) fn print(&self) {
        let mut text = format!("{}error: {}\n", self.details, self.message);
        for cause in &self.causes {
            text.push_str(&format!("  because: {cause}\n"));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("  hint: {hint}\n"));
        }
        print_error(&text);
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Store(error) => Self::of_store(&error),
            LoadError::Settings(problems) => Self::of_settings(&problems),
        }
    }
}

/// Prints a warning or a piece of advice.
pub(super) fn print_notice(kind: &str, notice: &Notice) {
    let mut text = format!("{}: {kind}: {}\n", notice.place, notice.message);
    if let Some(hint) = &notice.hint {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    print_error(&text);
}

/// Prints a result. A closed pipe (`| head`) is not a failure.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a result as JSON.
pub(super) fn print_json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).expect("our values have text keys and no failing serialisers");
    print(&format!("{text}\n"));
}

pub(super) fn print_error(text: &str) {
    let mut err = io::stderr().lock();
    let text = if colours(&err) { paint(text) } else { text.to_owned() };
    let _ = err.write_all(text.as_bytes());
}

/// Paints words of a result, if standard output is a terminal with colours.
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    pub(super) const RED: &str = RED;
    pub(super) const YELLOW: &str = YELLOW;
    pub(super) const GREEN: &str = "\x1b[32m";
    pub(super) const CYAN: &str = CYAN;
    #[cfg(test)]
    pub(super) const NONE: Self = Self(false);
    #[cfg(test)]
    pub(super) const ALWAYS: Self = Self(true);

    pub(super) fn for_output() -> Self {
        Self(colours(&io::stdout()))
    }

    pub(super) fn word(self, word: &str, colour: &str) -> String {
        if self.0 { format!("{colour}{word}{PLAIN}") } else { word.to_owned() }
    }
}

/// Whether texts are coloured: on a terminal with colours, unless `NO_COLOR` is set (no-color.org).
fn colours(target: &impl IsTerminal) -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    target.is_terminal() && !dumb && !unwanted
}

fn paint(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.split_inclusive('\n') {
        let painted = [("error:", RED), ("warning:", YELLOW), ("advice:", YELLOW), ("hint:", CYAN)]
            .into_iter()
            .find(|(word, _)| line.trim_start().starts_with(word) || line.contains(&format!(": {word} ")));
        match painted {
            Some((word, colour)) => out.push_str(&line.replacen(word, &format!("{colour}{word}{PLAIN}"), 1)),
            None => out.push_str(line),
        }
    }
    out
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        #[source]
        source: Option<Box<Layer>>,
    }

    #[test]
    fn a_cause_that_repeats_the_message_is_left_out() {
        let inner = Layer { text: "permission denied", source: None };
        let middle = Layer { text: "cannot open: permission denied", source: Some(Box::new(inner)) };
        let outer = Layer { text: "the store did not start", source: Some(Box::new(middle)) };
        assert_eq!(Failure::of_error(&outer).causes, ["cannot open: permission denied"]);
    }

    #[test]
    fn only_the_leading_word_of_a_line_is_coloured() {
        let painted = paint("x.toml:1: warning: a\n  hint: no error: here\nplain\n");
        assert_eq!(painted, "x.toml:1: \x1b[1;33mwarning:\x1b[0m a\n  \x1b[36mhint:\x1b[0m no error: here\nplain\n");
    }
}
