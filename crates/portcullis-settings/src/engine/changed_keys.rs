//! The keys that were set, each with a hash of its value, to tell at a reload which of them changed. Values are compared by
//! hash because some of them are secret.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::key::{Reload, Section};
use super::layers::Layers;
use super::tree::{Node, Value};

/// The keys that were set.
#[derive(Clone, Default)]
pub struct SetKeys(BTreeMap<String, SetKey>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct SetKey {
    hash: u64,
    reload: Reload,
    is_secret: bool,
}

impl SetKeys {
    /// Takes the keys of all layers. Keys that no section declares are left out: they are refused elsewhere.
    pub(crate) fn of(layers: &Layers, sections: &[&Section]) -> Self {
        let mut keys = Self::default();
        for section in sections {
            keys.add_section(layers, section);
        }
        // `HOST` and `PORT` change a part of this key without standing in the tree.
        if layers.host.is_some() || layers.port.is_some() {
            let key = keys.0.entry(LISTEN.to_owned()).or_insert(SetKey {
                hash: 0,
                reload: Reload::Restart,
                is_secret: false,
            });
            let parts = [&layers.host, &layers.port].map(|part| part.as_ref().map(|part| &part.value));
            key.hash = hash(|hasher| (key.hash, parts).hash(hasher));
        }
        keys
    }

    fn add_section(&mut self, layers: &Layers, section: &Section) {
        let (name, is_one_of_many) = match section.name.split_once(".<") {
            Some((name, _)) => (name, true),
            None => (section.name, false),
        };
        let Some(node) = layers.tree.get(name).map(Node::structured) else { return };
        match &node.value {
            Value::Table(members) if is_one_of_many => {
                for (member, node) in members {
                    self.add_keys(&format!("{name}.{member}"), node, section);
                }
            }
            Value::List(items) => {
                for (number, node) in items.iter().enumerate() {
                    self.add_keys(&format!("{name}[{number}]"), node, section);
                }
            }
            _ => self.add_keys(name, &node, section),
        }
    }

    fn add_keys(&mut self, path: &str, node: &Node, section: &Section) {
        let node = node.structured();
        let Value::Table(table) = &node.value else { return };
        for key in section.keys {
            if let Some(node) = table.get(key.name) {
                let hash = hash(|hasher| feed(node, hasher));
                self.0
                    .insert(format!("{path}.{}", key.name), SetKey { hash, reload: key.reload, is_secret: key.secret });
            }
        }
    }

    /// Takes these keys over from `later`, so that they no longer differ in it.
    pub(crate) fn take(&mut self, later: &Self, names: &[&str]) {
        for name in names {
            match later.0.get(*name) {
                Some(key) => self.0.insert((*name).to_owned(), *key),
                None => self.0.remove(*name),
            };
        }
    }

    /// The keys that differ in `later` and whose declaration says that they wait for a restart, sorted.
    pub(crate) fn waiting_for_restart(&self, later: &Self) -> Vec<String> {
        self.waiting(later, |_| true)
    }

    /// Those of them that are secret.
    pub(crate) fn secrets_waiting_for_restart(&self, later: &Self) -> Vec<String> {
        self.waiting(later, |key| key.is_secret)
    }

    fn waiting(&self, later: &Self, counts: impl Fn(&SetKey) -> bool) -> Vec<String> {
        let both = self.0.iter().chain(&later.0);
        let waiting = both.filter(|(_, key)| key.reload == Reload::Restart && counts(key));
        let mut names: Vec<String> =
            waiting.map(|(name, _)| name).filter(|name| self.0.get(*name) != later.0.get(*name)).cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

/// The key that `HOST` and `PORT` change.
const LISTEN: &str = "server.listen";

/// Shows names only, because values may be secret.
impl fmt::Debug for SetKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

fn hash(feed: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    feed(&mut hasher);
    hasher.finish()
}

fn feed(node: &Node, hasher: &mut DefaultHasher) {
    node.value.kind().hash(hasher);
    match &node.value {
        Value::Text(text) | Value::Raw(text) | Value::Number(text) | Value::Date(text) => text.hash(hasher),
        Value::Integer(number) => number.hash(hasher),
        Value::Boolean(value) => value.hash(hasher),
        Value::List(items) => items.iter().for_each(|item| feed(item, hasher)),
        Value::Table(entries) => {
            for (name, node) in entries {
                name.hash(hasher);
                feed(node, hasher);
            }
        }
    }
}
