//! Reading one section: typed values out of what was written, and a notice for
//! everything that is not as it should be.

use portcullis_model::{InvalidInput, input::did_you_mean};

use super::key::{Key, Preset, Section};
use super::notice::{Notice, Place, Problems};
use super::tree::{Node, Table, Value};

/// A section being read. What is wrong goes to `problems`, and reading goes on
/// with the default, so that one start shows everything.
pub(crate) struct Reader<'t, 'p> {
    table: Option<&'t Table>,
    /// How the section is called in messages: `server`, `upstreams.projects`.
    pub(crate) name: String,
    /// Where the section begins.
    pub(crate) place: Place,
    pub(crate) problems: &'p mut Problems,
}

impl<'t, 'p> Reader<'t, 'p> {
    /// Opens `[name]`; keys that the section does not have are noted at once.
    pub(crate) fn open(root: &'t Table, section: &'static Section, problems: &'p mut Problems) -> Self {
        let node = root.get(section.name);
        Self::of(node, section.name.to_owned(), section, problems)
    }

    /// Opens a table that is one of many: an upstream, a route, a version.
    pub(crate) fn of(
        node: Option<&'t Node>,
        name: String,
        section: &'static Section,
        problems: &'p mut Problems,
    ) -> Self {
        let place = node.map_or(Place::Nowhere, |node| node.place.clone());
        let table = match node.map(|node| &node.value) {
            None => None,
            Some(Value::Table(table)) => Some(table),
            Some(other) => {
                let message = format!("`{name}` is {}, and should be a section of keys", other.kind());
                problems.add(Notice::new(&place, message).hint(format!("write [{name}], then a key on each line")));
                None
            }
        };
        let mut reader = Self { table, name, place, problems };
        reader.refuse_unknown(section);
        reader
    }

    fn refuse_unknown(&mut self, section: &'static Section) {
        for (name, node) in self.table.into_iter().flatten() {
            if !section.keys.iter().any(|key| key.name == name) {
                let known = || section.keys.iter().map(|key| key.name);
                let hint = unknown_hint(name, known());
                self.problems
                    .add(Notice::new(&node.place, format!("unknown key `{name}` in [{}]", self.name)).hint(hint));
            }
        }
    }

    /// What was written for a key.
    pub(crate) fn node(&self, key: &Key) -> Option<&'t Node> {
        self.table.and_then(|table| table.get(key.name))
    }

    /// Where a key was written, else where its section begins.
    pub(crate) fn place_of(&self, key: &Key) -> Place {
        self.node(key).map_or_else(|| self.place.clone(), |node| node.place.clone())
    }

    /// How a key is called in messages.
    pub(crate) fn path(&self, key: &Key) -> String {
        format!("{}.{}", self.name, key.name)
    }

    /// Notes that a key's value cannot be used.
    pub(crate) fn reject(&mut self, key: &Key, message: impl std::fmt::Display, hint: impl Into<String>) {
        let notice = Notice::new(&self.place_of(key), format!("{} {message}", self.path(key))).hint(hint);
        self.problems.add(notice);
    }

    /// A text, a number or a date, parsed; `None` when it is absent or wrong.
    pub(crate) fn optional<T>(&mut self, key: &Key, parse: impl Fn(&str) -> Result<T, InvalidInput>) -> Option<T> {
        let node = self.node(key)?;
        match scalar(node).map(|text| parse(&text)) {
            Some(Ok(value)) => Some(value),
            Some(Err(reason)) => {
                self.reject_value(key, node, &reason);
                None
            }
            None => {
                self.reject(key, format!("is {}", node.value.kind()), key.describe());
                None
            }
        }
    }

    /// As [`optional`](Self::optional), with the key's default in place of what is absent or wrong.
    pub(crate) fn value<T>(&mut self, key: &Key, parse: impl Fn(&str) -> Result<T, InvalidInput>) -> T {
        self.optional(key, &parse).unwrap_or_else(|| parse(preset(key)).expect("a key's default can be read"))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &Key) -> bool {
        let by_default = preset(key) == "true";
        match self.node(key).map(|node| &node.value) {
            None => by_default,
            Some(Value::Boolean(value)) => *value,
            Some(Value::Raw(text)) if text == "true" => true,
            Some(Value::Raw(text)) if text == "false" => false,
            Some(other) => {
                let hint = match other {
                    Value::Text(_) => "write true or false, without quotes",
                    _ => "write true or false",
                };
                self.reject(key, "is neither true nor false", hint);
                by_default
            }
        }
    }

    /// A whole number from `least` to `most`, or the key's default.
    pub(crate) fn number(&mut self, key: &Key, least: u32, most: u32) -> u32 {
        self.value(key, |text| parse_number(text, least, most))
    }

    /// A whole number from `least` to `most`, if there is one.
    pub(crate) fn optional_number(&mut self, key: &Key, least: u32, most: u32) -> Option<u32> {
        self.optional(key, |text| parse_number(text, least, most))
    }

    /// A list of texts, each parsed; in the environment separated by commas. What is wrong is left out.
    pub(crate) fn list<T>(&mut self, key: &Key, parse: impl Fn(&str) -> Result<T, InvalidInput>) -> Vec<T> {
        let Some(node) = self.node(key) else { return Vec::new() };
        self.items(key, node, parse)
    }

    /// As [`list`](Self::list), for a node of the reader's choice.
    pub(crate) fn items<T>(
        &mut self,
        key: &Key,
        node: &Node,
        parse: impl Fn(&str) -> Result<T, InvalidInput>,
    ) -> Vec<T> {
        let node = node.structured();
        let items: Vec<Node> = match &node.value {
            Value::List(items) => items.clone(),
            Value::Raw(text) => {
                let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                texts.map(|text| Node { value: Value::Raw(text.to_owned()), place: node.place.clone() }).collect()
            }
            other => {
                self.reject(key, format!("is {}, and should be a list", other.kind()), key.describe());
                return Vec::new();
            }
        };
        let mut values = Vec::with_capacity(items.len());
        for item in &items {
            match scalar(item).map(|text| parse(&text)) {
                Some(Ok(value)) => values.push(value),
                Some(Err(reason)) => self.reject_value(key, item, &reason),
                None => {
                    let message = format!("{} holds {}, and should hold texts", self.path(key), item.value.kind());
                    self.problems.add(Notice::new(&item.place, message).hint(key.describe()));
                }
            }
        }
        values
    }

    fn reject_value(&mut self, key: &Key, node: &Node, reason: &InvalidInput) {
        let path = self.path(key);
        let message = match &node.value {
            _ if key.secret => format!("{path} cannot be used"),
            Value::Text(text) | Value::Raw(text) if text.len() <= MOST_SHOWN && !holds_credentials(text) => {
                format!("{path} = {text:?} cannot be used")
            }
            Value::Integer(number) => format!("{path} = {number} cannot be used"),
            Value::Number(text) | Value::Date(text) => format!("{path} = {text} cannot be used"),
            _ => format!("{path} cannot be used"),
        };
        self.problems.add(Notice::new(&node.place, message).hint(reason.to_string()));
    }
}

/// Longer texts are not repeated in messages, in bytes.
const MOST_SHOWN: usize = 80;

/// Whether it may be a URL with a user and a password, which no message repeats (requirement 47).
fn holds_credentials(text: &str) -> bool {
    text.split_once("//").is_some_and(|(_, rest)| rest.contains('@'))
}

/// The hint for a name that is none of the known ones.
pub(crate) fn unknown_hint<'k>(name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    match did_you_mean(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let mut known: Vec<&str> = known.collect();
            match known.pop() {
                Some(last) if known.is_empty() => format!("it is {last}"),
                Some(last) => format!("it is {} or {last}", known.join(", ")),
                None => "there is none".to_owned(),
            }
        }
    }
}

/// The text of a value that is one: quoted, a number, a date, or from the environment.
fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) | Value::Raw(text) | Value::Number(text) | Value::Date(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(_) | Value::List(_) | Value::Table(_) => None,
    }
}

fn parse_number(text: &str, least: u32, most: u32) -> Result<u32, InvalidInput> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| InvalidInput(format!("it is a whole number from {least} to {most}")))
}

fn preset(key: &Key) -> &'static str {
    match key.preset {
        Preset::Value(text) => text,
        Preset::Otherwise(_) | Preset::Required => "",
    }
}
