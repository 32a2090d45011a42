//! A warning about secrets in a settings file that other users of the machine can read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::key::Section;
use super::notice::{Notice, Place};
use super::tree::{Table, Value};

/// Warns of every secret in the settings file, if the group or others have any permission on it.
pub(crate) fn warn(tree: &Table, sections: &[&Section], file: Option<&Path>, warnings: &mut Vec<Notice>) {
    let is_shared = |file: &Path| file.metadata().is_ok_and(|data| data.permissions().mode() & 0o077 != 0);
    let Some(file) = file.filter(|file| is_shared(file)) else { return };
    for section in sections {
        let Some(Value::Table(table)) = tree.get(section.name).map(|node| &node.value) else { continue };
        for key in section.keys.iter().filter(|key| key.secret) {
            if let Some(node) = table.get(key.name)
                && let Place::File { .. } = node.place
            {
                let message = format!("{}.{} is a secret in a file that other users can read", section.name, key.name);
                let hint = format!("run chmod 600 {}, or set the secret in the environment", file.display());
                warnings.push(Notice::new(&node.place, message).hint(hint));
            }
        }
    }
}
