//! What a store holds for this installation.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::SecretString;
use serde_json::{Map, Value};

/// The secrets that a store holds, by name.
#[derive(Clone, Debug)]
pub struct StoredSecrets {
    /// The store and the secret in it, for messages: `Vault secret/data/gate`.
    pub store: Arc<str>,
    /// The version of the secret, as the store names it.
    pub version: String,
    /// The values by their names, such as `CSRF_SECRET`.
    pub values: BTreeMap<String, StoredValue>,
}

/// A value in a store.
#[derive(Clone, Debug)]
pub enum StoredValue {
    /// A text.
    Text(SecretString),
    /// Something else, such as "a number". Other programs may use it.
    Other(&'static str),
}

impl StoredSecrets {
    pub(crate) fn new(store: &Arc<str>, version: String, object: Map<String, Value>) -> Self {
        let values = object.into_iter().map(|(name, value)| (name, StoredValue::of(value))).collect();
        Self { store: Arc::clone(store), version, values }
    }

    /// Every text in the store, so that it can be taken out of other texts.
    pub fn texts(&self) -> impl Iterator<Item = &SecretString> {
        self.values.values().filter_map(|value| match value {
            StoredValue::Text(text) => Some(text),
            StoredValue::Other(_) => None,
        })
    }

    /// The names whose values differ in `later`, sorted.
    pub fn changed_names(&self, later: &Self) -> Vec<String> {
        let names = self.values.keys().chain(later.values.keys());
        let changed = |name: &&String| match (self.values.get(*name), later.values.get(*name)) {
            (Some(earlier), Some(later)) => !earlier.is_same(later),
            _ => true,
        };
        let mut names: Vec<String> = names.filter(changed).cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

impl StoredValue {
    fn of(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(SecretString::new(text)),
            Value::Null => Self::Other("null"),
            Value::Bool(_) => Self::Other("true or false"),
            Value::Number(_) => Self::Other("a number"),
            Value::Array(_) => Self::Other("a list"),
            Value::Object(_) => Self::Other("an object"),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.expose() == b.expose(),
            (Self::Other(a), Self::Other(b)) => a == b,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(object: &Value) -> StoredSecrets {
        StoredSecrets::new(&"a store".into(), "1".to_owned(), object.as_object().expect("an object").clone())
    }

    #[test]
    fn changed_added_and_removed_names_are_told() {
        let first = stored(&json!({ "A": "1", "B": "2", "C": 3 }));
        assert_eq!(first.changed_names(&first), [""; 0]);
        assert_eq!(first.changed_names(&stored(&json!({ "A": "1", "B": "x", "C": "3", "D": "4" }))), ["B", "C", "D"]);
        assert_eq!(first.changed_names(&stored(&json!({ "A": "1", "B": "2" }))), ["C"]);
    }

    #[test]
    fn sr_47_stored_secrets_show_no_value() {
        let shown = format!("{:?}", stored(&json!({ "CSRF_SECRET": "hunter2" })));
        assert!(shown.contains("CSRF_SECRET") && !shown.contains("hunter2"), "{shown}");
    }
}
