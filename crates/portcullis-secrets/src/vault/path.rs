//! The name of a secret in Vault.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use portcullis_model::InvalidInput;

/// A secret of the KV engine: the path of the API, `secret/data/gate`. The command line of Vault writes it without `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPath {
    /// Encoded for a URL.
    api_path: String,
    shown: String,
    mount: String,
    name: String,
}

/// What a segment of a path does not contain.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');

impl SecretPath {
    /// Parses `secret/gate` or `secret/data/gate`. Without `data` the first segment is the mount, so a mount of several
    /// segments needs the second form.
    ///
    /// # Errors
    /// When a segment is missing or empty.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let invalid = || InvalidInput("write the mount and the name of the secret, as in secret/gate".to_owned());
        let text = text.trim_matches('/');
        let text = text.strip_prefix("v1/").unwrap_or(text);
        let segments: Vec<&str> = text.split('/').collect();
        let is_good = |segment: &&str| !matches!(*segment, "" | "." | "..") && !segment.contains(char::is_control);
        if segments.len() < 2 || !segments.iter().all(is_good) {
            return Err(invalid());
        }
        let data = (1..segments.len() - 1).find(|at| segments[*at] == "data");
        let (mount, name) = match data {
            Some(at) => (&segments[..at], &segments[at + 1..]),
            None => (&segments[..1], &segments[1..]),
        };
        let (mount, name) = (mount.join("/"), name.join("/"));
        let shown = format!("{mount}/data/{name}");
        Ok(Self { api_path: utf8_percent_encode(&shown, ENCODED).to_string(), shown, mount, name })
    }

    pub(super) fn api_path(&self) -> &str {
        &self.api_path
    }

    /// The command that shows the secret.
    pub(super) fn command(&self) -> String {
        format!("vault kv get -mount={} {}", self.mount, self.name)
    }
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_secret() {
        for (text, path) in [
            ("secret/gate", "secret/data/gate"),
            ("secret/data/gate", "secret/data/gate"),
            ("/v1/secret/data/gate/", "secret/data/gate"),
            ("secret/apps/gate/production", "secret/data/apps/gate/production"),
            ("team/kv/data/apps/gate", "team/kv/data/apps/gate"),
            ("secret/data", "secret/data/data"),
            ("secret/my gate?", "secret/data/my%20gate%3F"),
        ] {
            assert_eq!(SecretPath::parse(text).expect(text).api_path(), path, "{text}");
        }
        let shown = SecretPath::parse("secret/my gate").expect("a path").to_string();
        assert_eq!(shown, "secret/data/my gate");
    }

    #[test]
    fn a_path_without_mount_or_name_is_refused() {
        for bad in ["", "/", "gate", "secret/", "secret//gate", "secret/../sys", "secret/a\nb"] {
            assert!(SecretPath::parse(bad).is_err(), "{bad:?}");
        }
    }
}
