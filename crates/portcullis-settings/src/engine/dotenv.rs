//! Parses `.env` of the working folder, which is read in development: lines of the form `NAME=value`.
//!
//! Variables in a value are not expanded.

use std::sync::Arc;

use super::notice::{Notice, Place, Problems};

/// A variable that a line sets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// Parses every line; a line of another form is a problem.
pub(crate) fn parse(path: &Arc<str>, text: &str, problems: &mut Problems) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = Place::File { path: Arc::clone(path), line: index + 1 };
        let assignment = line.strip_prefix("export ").unwrap_or(line).split_once('=');
        let Some((name, value)) =
            assignment.map(|(name, value)| (name.trim(), value.trim())).filter(|(name, _)| is_name(name))
        else {
            problems.add(
                Notice::new(&at, "this line sets no variable").hint("write NAME=value, or # in front of a comment"),
            );
            continue;
        };
        let place = Place::DotEnv { path: Arc::clone(path), line: index + 1, name: name.into() };
        match unquote(value) {
            Some(value) => entries.push(Entry { name: name.to_owned(), value, place }),
            None => problems.add(Notice::new(&place, "the quote is not closed").hint("end the value on the same line")),
        }
    }
    entries
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Removes quotes. In double quotes `\n`, `\"` and `\\` are escapes; outside of quotes ` #` begins a comment.
fn unquote(value: &str) -> Option<String> {
    match value.chars().next() {
        Some('\'') => {
            let (inside, rest) = value[1..].split_once('\'')?;
            ends(rest).then(|| inside.to_owned())
        }
        Some('"') => {
            let mut out = String::with_capacity(value.len());
            let mut chars = value[1..].chars();
            while let Some(c) = chars.next() {
                match c {
                    '"' => return ends(chars.as_str()).then_some(out),
                    '\\' => match chars.next()? {
                        'n' => out.push('\n'),
                        other => out.push(other),
                    },
                    other => out.push(other),
                }
            }
            None
        }
        _ => Some(value.split_once(" #").map_or(value, |(value, _)| value).trim_end().to_owned()),
    }
}

/// Whether nothing but a comment follows a closing quote.
fn ends(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_be_quoted_and_followed_by_comments() {
        let mut problems = Problems::default();
        let text = "# a comment\nPORT=9000\nexport HOST = 127.0.0.1 # here\nA='x # y'\nB=\"line\\n\\\"two\\\"\" # z\nC=\nnonsense\nD=\"open\n";
        let entries = parse(&".env".into(), text, &mut problems);
        let pairs: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.value.as_str())).collect();
        assert_eq!(pairs, [("PORT", "9000"), ("HOST", "127.0.0.1"), ("A", "x # y"), ("B", "line\n\"two\""), ("C", "")]);
        assert_eq!(
            problems.to_string(),
            ".env:7: this line sets no variable\n  hint: write NAME=value, or # in front of a comment\n.env:8 (D): the quote is not closed\n  hint: end the value on the same line"
        );
    }
}
