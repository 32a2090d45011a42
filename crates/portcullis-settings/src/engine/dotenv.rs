//! Parses `.env` of the working folder, which is read in development, as the npm package `dotenv` does: a line that sets no
//! variable is skipped, and the last line that sets one wins.
//!
//! The grammar is one regular expression there, and its quirks are part of it: `#` begins a comment even without a blank
//! in front, `\n` is an escape in double quotes only, and a quote that is not closed belongs to the value. Variables in a
//! value are not expanded.

use std::sync::Arc;

use super::notice::{Notice, Place};

/// A variable that a line sets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) place: Place,
    /// What the operator may not expect about the value.
    pub(crate) warning: Option<Notice>,
}

/// Parses the text of a file.
pub(crate) fn parse(path: &Arc<str>, text: &str) -> Vec<Entry> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut entries = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let next_line = text[start..].find('\n').map_or(text.len(), |end| start + end + 1);
        let Some(assignment) = Assignment::at(&text, start) else {
            start = next_line;
            continue;
        };
        let line = text[..assignment.name_at].matches('\n').count() + 1;
        let place = Place::DotEnv { path: Arc::clone(path), line, name: assignment.name.into() };
        let (value, warning) = assignment.value.read(&place);
        // The next assignment begins on a line of its own.
        start = text[assignment.end..].find('\n').map_or(text.len(), |end| assignment.end + end + 1).max(next_line);
        entries.push(Entry { name: assignment.name.to_owned(), value, place, warning });
    }
    entries
}

/// A name with its value, as the text has them.
struct Assignment<'t> {
    name: &'t str,
    name_at: usize,
    value: Value<'t>,
    /// Where the value and the comment behind it end.
    end: usize,
}

/// A value before its escapes are read.
enum Value<'t> {
    /// In quotes of this kind.
    Quoted(char, &'t str),
    /// The rest of a line up to `#`, and whether that sign follows directly.
    Plain(&'t str, bool),
}

impl<'t> Assignment<'t> {
    /// Reads an assignment from the beginning of a line on; white space in front may reach over empty lines.
    fn at(text: &'t str, line: usize) -> Option<Self> {
        let begin = skip_space(text, line);
        let exported = text[begin..].strip_prefix("export").map(|_| begin + "export".len());
        let exported = exported.map(|after| (after, skip_space(text, after))).filter(|(after, name)| name > after);
        exported.and_then(|(_, name)| Self::named(text, name)).or_else(|| Self::named(text, begin))
    }

    fn named(text: &'t str, name_at: usize) -> Option<Self> {
        let rest = &text[name_at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let name = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        if name.is_empty() {
            return None;
        }
        let after = name_at + name.len();
        let sign = skip_space(text, after);
        let value_at = if text[sign..].starts_with('=') {
            sign + 1
        } else {
            // `NAME: value` needs white space behind the colon.
            let space = text[after..].strip_prefix(':')?.chars().next().filter(|c| is_space(*c))?;
            after + 1 + space.len_utf8()
        };
        let (value, end) = quoted(text, value_at).unwrap_or_else(|| plain(text, value_at));
        Some(Self { name, name_at, value, end })
    }
}

/// Reads a value in quotes, which may hold line breaks, other quotes, and its own quote behind a backslash. Behind the
/// closing quote only a comment may follow on the line.
fn quoted(text: &str, at: usize) -> Option<(Value<'_>, usize)> {
    let open = skip_space(text, at);
    let quote = text[open..].chars().next().filter(|c| "'\"`".contains(*c))?;
    let begin = open + 1;
    let mut escaped = Vec::new();
    let mut last = None;
    for (at, _) in text[begin..].match_indices(quote) {
        if text[begin..begin + at].ends_with('\\') {
            escaped.push(begin + at);
        } else {
            last = Some(begin + at);
            break;
        }
    }
    // The first quote without a backslash closes the value; if something follows it, one with a backslash does.
    let candidates = last.into_iter().chain(escaped.into_iter().rev());
    candidates.into_iter().find_map(|close| {
        let rest = &text[close + 1..];
        let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
        let tail = line.trim_start_matches(is_space);
        (tail.is_empty() || tail.starts_with('#'))
            .then(|| (Value::Quoted(quote, &text[begin..close]), close + 1 + line.len()))
    })
}

fn plain(text: &str, at: usize) -> (Value<'_>, usize) {
    let line = &text[at..text[at..].find('\n').map_or(text.len(), |end| at + end)];
    let value = &line[..line.find('#').unwrap_or(line.len())];
    let is_cut = value.len() < line.len() && value.ends_with(|c| !is_space(c));
    (Value::Plain(value, is_cut), at + line.len())
}

impl Value<'_> {
    fn read(&self, place: &Place) -> (String, Option<Notice>) {
        let (quote, text, warning) = match *self {
            Value::Quoted(quote, text) => (Some(quote), text, None),
            Value::Plain(text, is_cut) => {
                let text = text.trim_matches(is_space);
                let quote = text.chars().next().filter(|c| "'\"`".contains(*c));
                let inside = quote.and_then(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
                let warning = match (quote, inside) {
                    (Some(_), None) => Some(("the quote is not closed, so it is part of the value", "close the quote")),
                    _ if is_cut => Some((
                        "# ends the value here, as in Node's dotenv; Docker Compose would keep it",
                        "put the value in quotes, or a blank in front of the comment",
                    )),
                    _ => None,
                };
                (quote, inside.unwrap_or(text), warning)
            }
        };
        let value = match quote {
            Some('"') => text.replace("\\n", "\n").replace("\\r", "\r"),
            _ => text.to_owned(),
        };
        (value, warning.map(|(message, hint)| Notice::new(place, message).hint(hint)))
    }
}

fn skip_space(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start_matches(is_space).len()
}

/// White space as JavaScript defines it, which the byte order mark belongs to.
fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}

#[cfg(test)]
mod tests;
