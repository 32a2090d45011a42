//! `[backup]`: where backups are kept, and to whom they are encrypted.

use std::path::{Path, PathBuf};

use portcullis_backup::age::Recipient;
use portcullis_model::InvalidInput;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

/// The section `[backup]`.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The folder of the archives.
    pub to: Option<PathBuf>,
    /// To whom archives are encrypted; if there is nobody, they are sealed under ENCRYPTION_KEY.
    pub recipients: Vec<Recipient>,
}

static TO: Key = Key::live(
    "to",
    DefaultValue::Described("none"),
    "path of a folder, from the working folder",
    "The folder in which backups are kept. It must exist. Choose one on another disk than the database's.",
);
static RECIPIENTS: Key = Key::live(
    "recipients",
    DefaultValue::Described("none: sealed under ENCRYPTION_KEY"),
    "list of public keys of age (age1…)",
    "To whom backups are encrypted. Only who has one of their private keys can read the rows then, and the gateway cannot.",
);

pub(crate) static SECTION: Section = Section {
    name: "backup",
    about: "\
Backups that `portcullis backup create` makes, see [backup.md](backup.md). Whatever they are encrypted to, they
are authenticated under ENCRYPTION_KEY: keep it apart from them.",
    keys: &[&TO, &RECIPIENTS],
};

pub(crate) fn read(tree: &Table, folder: &Path, problems: &mut Problems) -> Backup {
    let mut section = Reader::open(tree, &SECTION, problems);
    Backup {
        to: section.optional(&TO, |text| parse_folder(text).map(|path| folder.join(path))),
        recipients: section.list(&RECIPIENTS, |text| {
            text.parse().map_err(|error: portcullis_backup::age::InvalidKey| InvalidInput(error.to_string()))
        }),
    }
}

fn parse_folder(text: &str) -> Result<&Path, InvalidInput> {
    match text.is_empty() || text.contains("://") {
        true => Err(InvalidInput("backups are kept in a folder: write its path (/var/backups/portcullis)".to_owned())),
        false => Ok(Path::new(text)),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    const RECIPIENT: &str = "age1wyzepwec9wnlekd36nd5zexgemtjuf683qpsr5v2qggg6tzfvghq7l3qft";

    #[test]
    fn backups_go_to_a_folder_and_to_recipients() {
        let default = settings("", &[]).backup;
        assert!(default.to.is_none() && default.recipients.is_empty());
        let file = format!("[backup]\nto = \"/var/backups/portcullis\"\nrecipients = [\"{RECIPIENT}\"]\n");
        let backup = settings(&file, &[]).backup;
        assert_eq!(backup.to.as_deref(), Some(std::path::Path::new("/var/backups/portcullis")));
        assert_eq!(backup.recipients.iter().map(ToString::to_string).collect::<Vec<_>>(), [RECIPIENT]);
    }

    #[test]
    fn other_places_and_keys_are_refused_with_a_hint() {
        for (key, value, hint) in [
            ("to", "\"s3://bucket/backups\"", "backups are kept in a folder"),
            ("to", "\"\"", "backups are kept in a folder"),
            ("recipients", "[\"age1wyzepwec9\"]", "a recipient is the public key that `age-keygen` prints"),
        ] {
            let message = refused(&format!("[backup]\n{key} = {value}\n"), &[]);
            assert!(message.contains(hint), "{key} = {value}: {message}");
        }
    }
}
