//! `[password]`: the rules for passwords, and the hashing pool.

use std::path::Path;

use portcullis_identity::DenyList;
use portcullis_model::InvalidInput;
use portcullis_model::password::{MAX_LENGTH, MIN_LENGTH_FLOOR};

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

/// The section `[password]`.
#[derive(Clone, Debug)]
pub struct Password {
    /// The fewest code points of a new password.
    pub min_length: usize,
    /// Passwords that are refused in addition to the most used ones.
    pub denied: DenyList,
    /// Whether failed sign-ins slow down further ones.
    pub throttle: bool,
    /// The threads of the hashing pool; `None` for one per core, as far as memory allows.
    pub hash_threads: Option<usize>,
    /// The most passwords that may wait to be hashed; more are answered 503.
    pub hash_queue: usize,
}

/// The shortest password that NIST SP 800-63B-4 accepts as the only factor.
const ADVISED_LENGTH: usize = 15;

static MIN_LENGTH: Key = Key::restart(
    "min_length",
    DefaultValue::Text("8"),
    "code points, 8 to 128",
    "The shortest new password. `portcullis check` advises 15 or more.",
);
static DENY_LIST: Key = Key::restart(
    "deny_list",
    DefaultValue::Described("none"),
    "path of a file, from the working folder",
    "A file of passwords that are refused, one a line in UTF-8; letter case does not count. The most used \
     passwords are refused without it. Each line takes 8 bytes of memory.",
);
static THROTTLE: Key = Key::restart(
    "throttle",
    DefaultValue::Text("true"),
    "true or false",
    "Whether failed sign-ins slow down further ones, for the account and for the client. `false` is for load tests.",
);
static HASH_THREADS: Key = Key::restart(
    "hash_threads",
    DefaultValue::Described("one per core"),
    "threads",
    "The threads that hash passwords. Each keeps 19 MiB after its first use. Under a memory limit of a container there are no \
     more by default than it has room for.",
);
static HASH_QUEUE: Key = Key::restart(
    "hash_queue",
    DefaultValue::Text("64"),
    "passwords",
    "The most passwords that may wait to be hashed; more are answered 503. Clients take turns; one of them, and one user, \
     may have seven eighths of the places; more are answered 429.",
);

pub(crate) static SECTION: Section = Section {
    name: "password",
    about: "\
Passwords are hashed with argon2id (19 MiB, 2 passes) on threads of their own, so that other requests do not
wait for them.",
    keys: &[&MIN_LENGTH, &DENY_LIST, &THROTTLE, &HASH_THREADS, &HASH_QUEUE],
};

pub(crate) fn read(tree: &Table, folder: &Path, problems: &mut Problems, advice: &mut Vec<Notice>) -> Password {
    let mut section = Reader::open(tree, &SECTION, problems);
    let bound = |length: usize| u32::try_from(length).expect("password lengths are small");
    let size = |number: u32| usize::try_from(number).expect("a usize has at least 32 bits");
    let password = Password {
        min_length: size(section.number(&MIN_LENGTH, bound(MIN_LENGTH_FLOOR), bound(MAX_LENGTH))),
        denied: section.optional(&DENY_LIST, |text| read_denied(&folder.join(text))).unwrap_or_default(),
        throttle: section.flag(&THROTTLE),
        hash_threads: section.optional_number(&HASH_THREADS, 1, 1024).map(size),
        hash_queue: size(section.number(&HASH_QUEUE, 1, 100_000)),
    };
    if !password.throttle {
        let message = "failed sign-ins do not slow down password guessing";
        advice.push(Notice::new(&section.place_of(&THROTTLE), message).hint("set password.throttle = true"));
    }
    if password.min_length < ADVISED_LENGTH {
        let message = format!("passwords may be as short as {} characters", password.min_length);
        let hint = format!(
            "set password.min_length = {ADVISED_LENGTH}: NIST SP 800-63B-4 requires it without a second factor"
        );
        advice.push(Notice::new(&section.place_of(&MIN_LENGTH), message).hint(hint));
    }
    password
}

fn read_denied(path: &Path) -> Result<DenyList, InvalidInput> {
    DenyList::read(path).map_err(|error| InvalidInput(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    #[test]
    fn sr_01_the_minimum_length_is_8_and_under_15_gets_advice() {
        let default = settings("", &[]);
        assert_eq!(default.password.min_length, 8);
        assert!(default.advice.iter().any(|notice| notice.message == "passwords may be as short as 8 characters"));
        let message = refused("[password]\nmin_length = 7\n", &[]);
        assert!(
            message.contains("password.min_length = 7 cannot be used\n  hint: write a whole number from 8 to 128"),
            "{message}"
        );
        let advised = settings("[password]\nmin_length = 15\n", &[]);
        assert!(!advised.advice.iter().any(|notice| notice.message.contains("as short as")));
    }

    #[test]
    fn sr_04_an_unreadable_deny_list_is_refused_with_its_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("denied.txt");
        let setting = format!("[password]\ndeny_list = \"{}\"\n", file.display());
        let message = refused(&setting, &[]);
        assert!(message.contains("denied.txt: the file cannot be read: No such file"), "{message}");
        std::fs::write(&file, b"acme rockets\nbad \xff line\n").expect("writable");
        let message = refused(&setting, &[]);
        assert!(
            message.contains("password.deny_list") && message.contains("denied.txt: line 2 is not UTF-8"),
            "{message}"
        );
        std::fs::write(&file, "acme rockets\nother one\n").expect("writable");
        assert_eq!(settings(&setting, &[]).password.denied.len(), 2);
        assert!(settings("", &[]).password.denied.is_empty());
    }
}
