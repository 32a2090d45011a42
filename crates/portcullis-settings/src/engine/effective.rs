//! The settings in force as they can be shown, and the secrets among them, so that these can be taken out of other texts.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use portcullis_model::SecretString;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::key::{DefaultValue, Key, Section};
use super::layers::Layers;
use super::notice::Place;
use super::tree::{Node, Table, Value};

/// Stands for a value that is secret.
const HIDDEN: &str = "[hidden]";

/// A key and its value, as they can be shown.
#[derive(Clone, Debug, Serialize)]
pub struct EffectiveKey {
    /// The whole name, such as `server.max_body` or `routes[0].path`.
    pub key: String,
    /// The value as it was written; of a secret only that it is set.
    pub value: Json,
    /// Where it was set; `default` if it was not.
    pub place: String,
}

/// The settings in force, and the secrets that must not be shown.
#[derive(Clone, Debug, Default)]
pub struct EffectiveSettings {
    /// Every key that is set, and of sections without a name also the defaults.
    pub keys: Vec<EffectiveKey>,
    /// The values of secret keys, and the passwords of their addresses.
    pub secrets: Vec<SecretString>,
}

impl EffectiveSettings {
    /// Takes what all layers say.
    pub(crate) fn of(layers: &Layers, sections: &[&Section]) -> Self {
        let mut effective = Self::default();
        for section in sections {
            match section.name.split_once(".<") {
                Some((name, _)) => effective.add_members(layers.tree.get(name), name, section),
                None => effective.add_section(layers.tree.get(section.name), section),
            }
        }
        for (name, part) in [("HOST", &layers.host), ("PORT", &layers.port)] {
            if let Some(part) = part {
                let value = json!(part.value);
                effective.keys.push(EffectiveKey { key: name.to_owned(), value, place: part.place.to_string() });
            }
        }
        effective
    }

    fn add_section(&mut self, node: Option<&Node>, section: &Section) {
        match node.map(|node| node.structured().value) {
            Some(Value::List(items)) => {
                for (number, item) in items.iter().enumerate() {
                    self.add_keys(&format!("{}[{number}]", section.name), item, section, false);
                }
            }
            Some(Value::Table(table)) => self.add_table(section.name, &table, section, true),
            _ if section.name == "routes" => {}
            _ => self.add_table(section.name, &Table::new(), section, true),
        }
    }

    fn add_members(&mut self, node: Option<&Node>, name: &str, section: &Section) {
        if let Some(Value::Table(members)) = node.map(|node| node.structured().value) {
            for (member, node) in &members {
                self.add_keys(&format!("{name}.{member}"), node, section, false);
            }
        }
    }

    fn add_keys(&mut self, path: &str, node: &Node, section: &Section, with_defaults: bool) {
        if let Value::Table(table) = node.structured().value {
            self.add_table(path, &table, section, with_defaults);
        }
    }

    fn add_table(&mut self, path: &str, table: &Table, section: &Section, with_defaults: bool) {
        for key in section.keys {
            match table.get(key.name) {
                Some(node) => self.add_set(format!("{path}.{}", key.name), key, node),
                None if with_defaults => {
                    let place = "default".to_owned();
                    self.keys.push(EffectiveKey { key: format!("{path}.{}", key.name), value: default(key), place });
                }
                None => {}
            }
        }
    }

    fn add_set(&mut self, name: String, key: &Key, node: &Node) {
        let value = if key.secret {
            self.add_secrets(&node.value);
            json!(HIDDEN)
        } else {
            shown(&node.value)
        };
        let place = match &node.place {
            Place::Nowhere => "settings".to_owned(),
            place => place.to_string(),
        };
        self.keys.push(EffectiveKey { key: name, value, place });
    }

    /// Notes a secret, each of its lines, and of an address its password.
    fn add_secrets(&mut self, value: &Value) {
        match value {
            Value::Text(text) | Value::Raw(text) | Value::Number(text) | Value::Date(text) => {
                self.secrets.extend(secrets_of(text).into_iter().map(SecretString::new));
            }
            Value::List(items) => items.iter().for_each(|item| self.add_secrets(&item.value)),
            Value::Table(entries) => entries.values().for_each(|node| self.add_secrets(&node.value)),
            Value::Integer(_) | Value::Boolean(_) => {}
        }
    }
}

/// The secrets in a text: the text itself, its lines, and the password of an address, also decoded.
fn secrets_of(text: &str) -> Vec<String> {
    let mut secrets = vec![text.trim().to_owned()];
    secrets.extend(text.lines().map(str::trim).map(str::to_owned));
    if let Ok(url) = url::Url::parse(text.trim()) {
        secrets.extend(password_of(&url));
        // The key of a Sentry DSN stands in the user's place.
        if url.password().is_none() && matches!(url.scheme(), "http" | "https") {
            secrets.push(url.username().to_owned());
        }
        let passwords = url.query_pairs().filter(|(name, _)| name.to_ascii_lowercase().contains("password"));
        secrets.extend(passwords.map(|(_, value)| value.into_owned()));
    }
    secrets.retain(|secret| !secret.is_empty());
    secrets
}

fn password_of(url: &url::Url) -> Vec<String> {
    let Some(password) = url.password() else { return Vec::new() };
    let decoded = percent_decode_str(password).decode_utf8().ok().map(Cow::into_owned);
    std::iter::once(password.to_owned()).chain(decoded).collect()
}

/// A value as JSON. What stands in front of the host of an address is never shown.
fn shown(value: &Value) -> Json {
    match value {
        Value::Text(text) | Value::Raw(text) | Value::Number(text) | Value::Date(text) => json!(without_user(text)),
        Value::Integer(number) => json!(number),
        Value::Boolean(value) => json!(value),
        Value::List(items) => items.iter().map(|item| shown(&item.value)).collect(),
        Value::Table(entries) => {
            Json::Object(entries.iter().map(|(name, node)| (name.clone(), shown(&node.value))).collect())
        }
    }
}

fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}{}", &rest[end..]),
        None => text.to_owned(),
    }
}

fn default(key: &Key) -> Json {
    match key.default {
        DefaultValue::Text(text) => json!(text),
        DefaultValue::Described(words) => json!(format!("({words})")),
        DefaultValue::Required => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::settings;

    #[test]
    fn every_key_has_its_value_and_its_place() {
        let file = "[server]\nmax_body = \"5MB\"\n[upstreams.app]\ntargets = [\"http://10.0.0.5:8002\"]\n\
            [[routes]]\npath = \"/app/{*rest}\"\nupstream = \"app\"\n";
        let settings = settings(file, &[("LOG_LEVEL", "debug")]);
        let of = |name: &str| {
            let key = settings.effective.keys.iter().find(|key| key.key == name).unwrap_or_else(|| panic!("no {name}"));
            (key.value.to_string(), key.place.clone())
        };
        assert_eq!(of("server.max_body"), ("\"5MB\"".to_owned(), "portcullis.toml:2".to_owned()));
        assert_eq!(of("upstreams.app.targets").0, "[\"http://10.0.0.5:8002\"]");
        assert_eq!(of("routes[0].path").0, "\"/app/{*rest}\"");
        assert_eq!(of("log.level"), ("\"debug\"".to_owned(), "environment LOG_LEVEL".to_owned()));
        assert_eq!(of("server.header_timeout"), ("\"10s\"".to_owned(), "default".to_owned()));
    }

    #[test]
    fn sr_47_secrets_are_hidden_and_known() {
        let settings = settings(
            "[metrics]\ntoken = \"planted-metrics-token\"\n",
            &[
                ("DATABASE_URL", "postgres://ada:planted%40database@db.example/gate"),
                ("CSRF_SECRET", "planted-csrf-kT4vXn8Q2pLz7Rb5Yw9Hc3"),
                ("SENTRY_DSN", "https://plantedsentrykey@sentry.example/7"),
            ],
        );
        let shown = format!("{:?}", settings.effective.keys);
        assert!(!shown.contains("planted"), "{shown}");
        let known = |secret: &str| settings.effective.secrets.iter().any(|known| known.expose() == secret);
        for secret in ["planted-metrics-token", "planted%40database", "planted@database", "plantedsentrykey"] {
            assert!(known(secret), "{secret}");
        }
    }
}
