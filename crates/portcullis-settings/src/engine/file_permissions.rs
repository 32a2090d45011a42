//! Secrets in a file that others can read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::key::Section;
use super::notice::{Notice, Place};
use super::tree::{Table, Value};

/// Warns when the settings file holds a secret and the machine's other users can read it.
pub(crate) fn warn(tree: &Table, sections: &[&Section], file: Option<&Path>, warnings: &mut Vec<Notice>) {
    let readable = |file: &Path| file.metadata().is_ok_and(|data| data.permissions().mode() & 0o077 != 0);
    let Some(file) = file.filter(|file| readable(file)) else { return };
    for section in sections {
        let Some(Value::Table(table)) = tree.get(section.name).map(|node| &node.value) else { continue };
        for key in section.keys.iter().filter(|key| key.secret) {
            if let Some(node) = table.get(key.name)
                && let Place::File { .. } = node.place
            {
                let message = format!("{}.{} stands in a file that others can read", section.name, key.name);
                let hint = format!("chmod 600 {}, or give it by environment", file.display());
                warnings.push(Notice::new(&node.place, message).hint(hint));
            }
        }
    }
}
