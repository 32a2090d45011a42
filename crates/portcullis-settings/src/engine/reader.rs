//! Reads the keys of one section into typed values, with a notice for every value that is refused.

use portcullis_model::{InvalidInput, input::did_you_mean};

use super::key::{DefaultValue, Key, Section};
use super::notice::{Notice, Place, Problems};
use super::tree::{Node, Table, Value};

/// A section that is being read. A refused value is added to `problems` and reading goes on with the default, so that one
/// start shows every problem.
pub(crate) struct Reader<'t, 'p> {
    table: Option<&'t Table>,
    /// The name of the section in messages: `server`, `upstreams.projects`.
    pub(crate) name: String,
    /// The place where the section begins.
    pub(crate) place: Place,
    pub(crate) problems: &'p mut Problems,
}

impl<'t, 'p> Reader<'t, 'p> {
    /// Opens a section by its name and refuses the keys in it that the section does not declare.
    pub(crate) fn open(root: &'t Table, section: &'static Section, problems: &'p mut Problems) -> Self {
        let node = root.get(section.name);
        Self::of(node, section.name.to_owned(), section, problems)
    }

    /// Opens a table that is one of several of its kind: an upstream, a route, a version.
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
                let message = format!("`{name}` is {}, but must be a section of keys", other.kind());
                problems.add(
                    Notice::new(&place, message)
                        .hint(format!("write [{name}] on a line, then one key on each line below")),
                );
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

    /// The value that was set for a key.
    pub(crate) fn node(&self, key: &Key) -> Option<&'t Node> {
        self.table.and_then(|table| table.get(key.name))
    }

    /// The place where a key was set, or else where its section begins.
    pub(crate) fn place_of(&self, key: &Key) -> Place {
        self.node(key).map_or_else(|| self.place.clone(), |node| node.place.clone())
    }

    /// The name of a key in messages: `server.listen`.
    pub(crate) fn path(&self, key: &Key) -> String {
        format!("{}.{}", self.name, key.name)
    }

    /// Refuses the value of a key; the message begins with the name of the key.
    pub(crate) fn reject(&mut self, key: &Key, message: impl std::fmt::Display, hint: impl Into<String>) {
        let notice = Notice::new(&self.place_of(key), format!("{} {message}", self.path(key))).hint(hint);
        self.problems.add(notice);
    }

    /// Parses a text, a number or a date; `None` when the key is not set or was refused.
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

    /// Parses as [`optional`](Self::optional) does, and falls back to the default of the key.
    pub(crate) fn value<T>(&mut self, key: &Key, parse: impl Fn(&str) -> Result<T, InvalidInput>) -> T {
        self.optional(key, &parse)
            .unwrap_or_else(|| parse(default_of(key)).expect("the declared default of a key is valid"))
    }

    /// Reads `true` or `false`, or the default of the key.
    pub(crate) fn flag(&mut self, key: &Key) -> bool {
        let by_default = default_of(key) == "true";
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

    /// Parses a whole number from `min` to `max`, or takes the default of the key.
    pub(crate) fn number(&mut self, key: &Key, min: u32, max: u32) -> u32 {
        self.value(key, |text| parse_number(text, min, max))
    }

    /// Parses a whole number from `min` to `max`; `None` when the key is not set or was refused.
    pub(crate) fn optional_number(&mut self, key: &Key, min: u32, max: u32) -> Option<u32> {
        self.optional(key, |text| parse_number(text, min, max))
    }

    /// Parses each text of a list; in the environment they are separated by commas. Refused texts are left out.
    pub(crate) fn list<T>(&mut self, key: &Key, parse: impl Fn(&str) -> Result<T, InvalidInput>) -> Vec<T> {
        let Some(node) = self.node(key) else { return Vec::new() };
        self.items(key, node, parse)
    }

    /// Parses the list in a given node as [`list`](Self::list) does.
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
                self.reject(key, format!("is {}, but must be a list", other.kind()), key.describe());
                return Vec::new();
            }
        };
        let mut values = Vec::with_capacity(items.len());
        for item in &items {
            match scalar(item).map(|text| parse(&text)) {
                Some(Ok(value)) => values.push(value),
                Some(Err(reason)) => self.reject_value(key, item, &reason),
                None => {
                    let message = format!("{} holds {}, but must hold texts", self.path(key), item.value.kind());
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
            Value::Text(text) | Value::Raw(text) if text.len() <= MAX_SHOWN_BYTES && !holds_credentials(text) => {
                format!("{path} = {text:?} cannot be used")
            }
            Value::Integer(number) => format!("{path} = {number} cannot be used"),
            Value::Number(text) | Value::Date(text) => format!("{path} = {text} cannot be used"),
            _ => format!("{path} cannot be used"),
        };
        self.problems.add(Notice::new(&node.place, message).hint(reason.to_string()));
    }
}

/// The longest text that a message repeats, in bytes.
const MAX_SHOWN_BYTES: usize = 80;

/// Whether a text may be a URL with a user and a password, which no message repeats (SR-47).
fn holds_credentials(text: &str) -> bool {
    text.split_once("//").is_some_and(|(_, rest)| rest.contains('@'))
}

/// The hint for a name that is not known: the most similar known one, or all of them.
pub(crate) fn unknown_hint<'k>(name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    match did_you_mean(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let mut known: Vec<&str> = known.collect();
            match known.pop() {
                Some(last) if known.is_empty() => format!("write {last}"),
                Some(last) => format!("write {} or {last}", known.join(", ")),
                None => "remove it".to_owned(),
            }
        }
    }
}

/// The text of a single value; `None` for a list, a table, and `true` or `false`.
fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) | Value::Raw(text) | Value::Number(text) | Value::Date(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(_) | Value::List(_) | Value::Table(_) => None,
    }
}

fn parse_number(text: &str, min: u32, max: u32) -> Result<u32, InvalidInput> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| InvalidInput(format!("write a whole number from {min} to {max}")))
}

fn default_of(key: &Key) -> &'static str {
    match key.default {
        DefaultValue::Text(text) => text,
        DefaultValue::Described(_) | DefaultValue::Required => "",
    }
}
