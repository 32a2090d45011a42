//! What the tests of both stores share.

use std::path::PathBuf;

use crate::{StoredSecrets, StoredValue};

/// The text that a store has under a name.
pub(crate) fn text<'s>(stored: &'s StoredSecrets, name: &str) -> &'s str {
    match stored.values.get(name) {
        Some(StoredValue::Text(text)) => text.expose(),
        other => panic!("{name} is {other:?}"),
    }
}

/// A file with this text in a folder of its own.
pub(crate) fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("token");
    std::fs::write(&path, text).expect("writable");
    (folder, path)
}
