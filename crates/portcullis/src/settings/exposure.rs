//! Secrets in a file that others can read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::notice::{Notice, Place};
use super::reference::SECTIONS;
use super::tree::{Table, Value};

/// Warns when the settings file holds a secret and the machine's other users can read it.
pub(super) fn warn(tree: &Table, file: Option<&Path>, warnings: &mut Vec<Notice>) {
    let readable = |file: &Path| file.metadata().is_ok_and(|data| data.permissions().mode() & 0o077 != 0);
    let Some(file) = file.filter(|file| readable(file)) else { return };
    for section in SECTIONS {
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

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use crate::settings::Flags;
    use crate::settings::testing::load_in;

    #[test]
    fn a_secret_in_a_file_for_everybody_is_warned_of() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("portcullis.toml");
        std::fs::write(&file, "[secrets]\njwt_secret = \"kT4vXn8Q2pLz7Rb5Yw9Hc3Jd6Fg1Ms0e\"\n").expect("writable");
        for (mode, warned) in [(0o644, 1), (0o640, 1), (0o600, 0)] {
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).expect("it is ours");
            let warnings = load_in(folder.path(), Flags::default(), &[]).expect("good settings").warnings;
            assert_eq!(warnings.len(), warned, "{mode:o}: {warnings:?}");
        }
    }
}
