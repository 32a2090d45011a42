//! The names of columns and JSON members. A name that is not known is refused before anything is written: a password
//! hash under another name would otherwise be lost, and a second import would skip its user.

use std::collections::HashSet;

use portcullis_model::input::did_you_mean;

use crate::commands::output::Failure;

/// The names of columns of CSV and members of JSON, as the API spells them.
pub(crate) const COLUMNS: [&str; 12] = [
    "id",
    "email",
    "username",
    "firstName",
    "lastName",
    "password",
    "role",
    "isActive",
    "isEmailVerified",
    "createdAt",
    "avatar",
    "permissions",
];
/// The columns that every source must have.
const REQUIRED: [&str; 4] = ["email", "username", "firstName", "lastName"];

/// Names that other programs give to our columns, in plain form. They are suggested, never read: the operator decides
/// whether `hash` is the password's.
const OTHER_NAMES: [(&str, &[&str]); 11] = [
    (
        "password",
        &[
            "passwordhash",
            "hashedpassword",
            "encryptedpassword",
            "passworddigest",
            "passwordencrypted",
            "hash",
            "pwd",
            "passwd",
            "pass",
            "crypt",
            "cryptedpassword",
        ],
    ),
    ("id", &["uuid", "userid", "guid", "sub"]),
    ("email", &["mail", "emailaddress", "useremail"]),
    ("username", &["login", "user", "nickname", "handle", "preferredusername", "loginname"]),
    ("firstName", &["givenname", "fname", "forename", "first"]),
    ("lastName", &["familyname", "lname", "surname", "last"]),
    ("role", &["roles", "userrole", "group", "groups"]),
    ("isActive", &["active", "enabled", "isenabled"]),
    ("isEmailVerified", &["emailverified", "verified", "isverified", "emailconfirmed", "confirmed"]),
    ("createdAt", &["created", "createdon", "insertedat", "datejoined", "creationdate", "registeredat"]),
    ("avatar", &["picture", "image", "photo", "avatarurl", "imageurl", "photourl"]),
];

/// The most unknown names that are listed.
const MAX_LISTED: usize = 50;
/// The longest part of an unknown name that is shown, in characters.
const MAX_SHOWN: usize = 64;

/// What is done with the values under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// They are read as this column.
    Column(&'static str),
    /// They are left out, because `--ignore-column` says so.
    Ignored,
    /// The import is refused.
    Unknown,
}

/// Tells the columns that are read from those that are left out.
pub(super) struct Columns {
    ignored: HashSet<String>,
}

impl Columns {
    /// Takes the names of `--ignore-column`. A required column cannot be left out.
    pub(super) fn new(ignored: &[String]) -> Result<Self, Failure> {
        let ignored: HashSet<String> = ignored.iter().map(|name| plain(name)).collect();
        match REQUIRED.into_iter().find(|name| ignored.contains(&plain(name))) {
            Some(name) => Err(Failure::new(format!("--ignore-column {name} cannot be used: every user needs it"))
                .hint(format!("only {} can be left out", optional().join(", ")))),
            None => Ok(Self { ignored }),
        }
    }

    /// Finds the column with this name; letter case, spaces around it, underscores and hyphens do not matter.
    pub(super) fn meaning(&self, name: &str) -> Meaning {
        let name = plain(name);
        if self.ignored.contains(&name) {
            return Meaning::Ignored;
        }
        let known = COLUMNS.into_iter().find(|known| plain(known) == name);
        known.map_or(Meaning::Unknown, Meaning::Column)
    }

    /// Refuses a source with unknown, repeated or missing columns, and names all of them.
    pub(super) fn check<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<(), Failure> {
        let (mut found, mut repeated, mut unknown) = (Vec::new(), Vec::new(), UnknownNames::default());
        for name in names {
            match self.meaning(name) {
                Meaning::Column(column) if found.contains(&column) => repeated.push(column),
                Meaning::Column(column) => found.push(column),
                Meaning::Ignored => {}
                Meaning::Unknown => unknown.add(name),
            }
        }
        let missing: Vec<&str> = REQUIRED.into_iter().filter(|required| !found.contains(required)).collect();
        // Without any known name the first line is no header, and holds values that may be secret.
        if !found.is_empty() && !unknown.is_empty() {
            return Err(unknown.failure(&missing));
        }
        if !missing.is_empty() {
            let hint = format!("write the names of the columns into the first line: {}", COLUMNS.join(","));
            return Err(Failure::new(format!("the first line does not name {}", missing.join(", "))).hint(hint));
        }
        if !repeated.is_empty() {
            return Err(Failure::new(format!("the source has two columns {}", repeated.join(", and two "))).hint(
                "keep one of the two; letter case and underscores do not tell columns apart; nothing was imported",
            ));
        }
        Ok(())
    }
}

/// Unknown names, each once, in the order in which they were found.
#[derive(Default)]
pub(super) struct UnknownNames {
    listed: Vec<String>,
    more: bool,
}

impl UnknownNames {
    pub(super) fn add(&mut self, name: &str) {
        if self.listed.iter().any(|known| known == name) {
            return;
        }
        if self.listed.len() < MAX_LISTED {
            self.listed.push(name.to_owned());
        } else {
            self.more = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Describes every unknown name, each with the column that may be meant.
    pub(super) fn failure(&self, missing: &[&str]) -> Failure {
        let mut details = String::new();
        for name in &self.listed {
            let suggestion = match suggestion(name) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "no column has a similar name".to_owned(),
            };
            details.push_str(&format!("unknown column {}: {suggestion}\n", shown(name)));
        }
        if self.more {
            details.push_str("and more\n");
        }
        for name in missing {
            details.push_str(&format!("missing column `{name}`\n"));
        }
        let options: Vec<String> =
            self.listed.iter().map(|name| format!("--ignore-column {}", argument(name))).collect();
        let message = "the source has columns that are not known; nothing was imported";
        Failure::new(message).details(details).hint(format!(
            "rename the columns; the known ones are {}. To leave values out: {}",
            COLUMNS.join(", "),
            options.join(" ")
        ))
    }
}

/// Finds the column that may be meant by an unknown name.
fn suggestion(name: &str) -> Option<&'static str> {
    let name = plain(name);
    let other = OTHER_NAMES.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(column, _)| *column);
    other.or_else(|| {
        let plain_names: Vec<(String, &'static str)> = COLUMNS.iter().map(|column| (plain(column), *column)).collect();
        let near = did_you_mean(&name, plain_names.iter().map(|(plain, _)| plain.as_str()))?;
        plain_names.iter().find(|(plain, _)| plain == near).map(|(_, column)| *column)
    })
}

/// Reduces a name to what tells columns apart.
fn plain(name: &str) -> String {
    name.trim().trim_start_matches('\u{feff}').replace(['_', '-'], "").to_lowercase()
}

fn optional() -> Vec<&'static str> {
    COLUMNS.into_iter().filter(|column| !REQUIRED.contains(column)).collect()
}

/// Writes a name so that it cannot change the terminal.
fn shown(name: &str) -> String {
    if name.trim().is_empty() {
        return "without a name".to_owned();
    }
    let mut text: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().count() > MAX_SHOWN {
        text.push('…');
    }
    format!("`{text}`")
}

/// Writes a name as an argument of a shell command.
fn argument(name: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    if !name.is_empty() && name.chars().all(safe) {
        return name.to_owned();
    }
    let text: String = name.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_programs_are_suggested() {
        for (name, column) in [
            ("passwordHash", "password"),
            ("encrypted_password", "password"),
            ("Password-Digest", "password"),
            ("pasword", "password"),
            ("given_name", "firstName"),
            ("emailVerified", "isEmailVerified"),
            ("e-mail", "email"),
            ("created", "createdAt"),
        ] {
            let near = match Columns::new(&[]).expect("nothing is ignored").meaning(name) {
                Meaning::Column(column) => Some(column),
                _ => suggestion(name),
            };
            assert_eq!(near, Some(column), "{name}");
        }
        assert_eq!(suggestion("twitter"), None);
    }

    #[test]
    fn a_name_is_shown_without_control_characters() {
        assert_eq!(shown("a\x1b[2J"), r"`a\u{1b}[2J`");
        assert_eq!((shown(" "), argument("")), ("without a name".to_owned(), "''".to_owned()));
        assert_eq!(argument("it's \x07x"), r"'it'\''s x'");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 67);
    }
}
