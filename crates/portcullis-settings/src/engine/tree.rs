//! The values of a settings file, each with its place, before any section gives them a meaning.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::notice::{Notice, Place, Problems};

/// A value and its place.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    /// The place of the key, or of the value itself in a list.
    pub(crate) place: Place,
}

/// A value as it was written.
#[derive(Clone)]
pub(crate) enum Value {
    /// A text in the file.
    Text(String),
    /// A text from the environment or the command line, where everything is text.
    Raw(String),
    Integer(i64),
    /// A float, or a number too large for 64 bits, as written.
    Number(String),
    Boolean(bool),
    /// A date as RFC 3339 writes it.
    Date(String),
    List(Vec<Node>),
    Table(Table),
}

pub(crate) type Table = BTreeMap<String, Node>;

impl Value {
    /// Names the kind of the value for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Raw(_) => "a text",
            Self::Integer(_) | Self::Number(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// Returns the node. A text from the environment that is a TOML list or table is parsed as one:
    /// `PORTCULLIS__ROUTES='[{path = "/x", upstream = "y"}]'`.
    pub(crate) fn structured(&self) -> Self {
        if let Value::Raw(text) = &self.value
            && text.trim_start().starts_with(['[', '{'])
            && let Ok(parsed) = DeValue::parse(text.trim())
        {
            return Self::convert(parsed.get_ref(), self.place.clone(), &|_| self.place.clone());
        }
        self.clone()
    }

    fn convert(value: &DeValue<'_>, place: Place, at: &impl Fn(usize) -> Place) -> Self {
        let value = match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(|_| Value::Number(integer.to_string()), Value::Integer),
            DeValue::Float(float) => Value::Number(float.as_str().to_owned()),
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| Self::convert(item.get_ref(), at(item.span().start), at)).collect())
            }
            DeValue::Table(entries) => Value::Table(table(entries, at)),
        };
        Self { value, place }
    }
}

fn table(entries: &DeTable<'_>, at: &impl Fn(usize) -> Place) -> Table {
    let convert =
        |key: &Spanned<_>, value: &Spanned<DeValue<'_>>| Node::convert(value.get_ref(), at(key.span().start), at);
    entries.iter().map(|(key, value)| (key.get_ref().to_string(), convert(key, value))).collect()
}

/// Parses a TOML document, or reports every syntax error in it.
pub(crate) fn parse(path: &Arc<str>, text: &str) -> Result<Table, Problems> {
    let starts: Vec<usize> =
        std::iter::once(0).chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1)).collect();
    let at =
        |offset: usize| Place::File { path: Arc::clone(path), line: starts.partition_point(|start| *start <= offset) };
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table(document.get_ref(), &at));
    }
    let mut problems = Problems::default();
    for error in errors {
        let place = at(error.span().map_or(0, |span| span.start));
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        problems.add(Notice::new(&place, format!("this is not TOML: {message}")));
    }
    Err(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(node: &Node) -> usize {
        node.place.line().expect("a place in a file").1
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "[server]\nlisten = \"x\"\n\n[[routes]]\npath = \"/a\"\nroles = [\n  \"A\",\n  \"B\",\n]\n\n[[routes]]\npath = \"/b\"\n";
        let tree = parse(&"x.toml".into(), text).expect("TOML");
        let Value::Table(server) = &tree["server"].value else { panic!("a table") };
        assert_eq!((line(&tree["server"]), line(&server["listen"])), (1, 2));
        let Value::List(routes) = &tree["routes"].value else { panic!("a list") };
        assert_eq!(routes.iter().map(line).collect::<Vec<_>>(), [4, 11]);
        let Value::Table(first) = &routes[0].value else { panic!("a table") };
        let Value::List(roles) = &first["roles"].value else { panic!("a list") };
        assert_eq!(roles.iter().map(line).collect::<Vec<_>>(), [7, 8]);
    }

    #[test]
    fn every_syntax_error_is_reported_with_its_line() {
        let problems = parse(&"x.toml".into(), "a = \nb = 1\nb = 2\nc = \"open\n").err().expect("not TOML");
        let lines: Vec<_> = problems.iter().map(|problem| problem.place.line().expect("a line").1).collect();
        assert!(lines.contains(&1) && lines.contains(&3) && lines.contains(&4), "{problems}");
    }
}
