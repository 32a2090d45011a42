//! Which keys were written, and whether a later reading differs: values are compared by hash, because some are secret.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::tree::{Node, Table, Value};

/// Sections that a reload puts in force. The keys of all others wait for the next start.
const LIVE: [&str; 9] = ["routes", "upstreams", "versions", "cors", "headers", "csrf", "limits", "roles", "secrets"];
/// Keys of other sections that it puts in force too.
const LIVE_KEYS: [&str; 2] = ["server.trusted_proxies", "server.max_body"];

/// What was written, by hash.
#[derive(Clone, Default)]
pub struct Written(BTreeMap<String, u64>);

impl Written {
    pub(crate) fn of(tree: &Table) -> Self {
        let mut hashes = BTreeMap::new();
        for (section, node) in tree {
            match &node.value {
                Value::Table(keys) => {
                    hashes.extend(keys.iter().map(|(key, node)| (format!("{section}.{key}"), hash(node))));
                }
                _ => drop(hashes.insert(section.clone(), hash(node))),
            }
        }
        Self(hashes)
    }

    /// The keys that differ and take effect at the next start only.
    pub fn waiting_for_restart(&self, later: &Self) -> Vec<String> {
        let names = self.0.keys().chain(later.0.keys());
        let mut changed: Vec<String> =
            names.filter(|name| self.0.get(*name) != later.0.get(*name) && !is_live(name)).cloned().collect();
        changed.sort();
        changed.dedup();
        changed
    }
}

fn is_live(name: &str) -> bool {
    let section = name.split('.').next().unwrap_or(name);
    LIVE.contains(&section) || LIVE_KEYS.contains(&name)
}

/// Says nothing of values.
impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

fn hash(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    feed(node, &mut hasher);
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

#[cfg(test)]
mod tests {
    use crate::testing::settings;

    #[test]
    fn what_waits_for_a_restart_is_told_and_what_does_not_is_not() {
        let before = settings("[session]\naccess_ttl = \"1h\"\n[limits]\napi = \"1/1s\"\n", &[]).written;
        let waiting = |file: &str| before.waiting_for_restart(&settings(file, &[]).written);
        assert!(
            waiting("[session]\naccess_ttl = \"1h\"\n[limits]\napi = \"2/1s\"\n[server]\nmax_body = 5\n").is_empty()
        );
        assert_eq!(waiting("[session]\naccess_ttl = \"2h\"\n"), ["session.access_ttl"]);
        assert_eq!(waiting("[server]\nlisten = \"127.0.0.1:1\"\n"), ["server.listen", "session.access_ttl"]);
        let secret = settings("[database]\nurl = \"postgres://u:geheim@h/d\"\n", &[]);
        assert!(!format!("{:?}", secret.written).contains("geheim"));
    }
}
