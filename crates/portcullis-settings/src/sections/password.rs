//! `[password]`: what a password must be, and the room where they are hashed.

use std::path::Path;

use portcullis_identity::DenyList;
use portcullis_model::InvalidInput;
use portcullis_model::password::{MAX_LENGTH, MIN_LENGTH_FLOOR};

use crate::engine::key::{Key, Preset, Section};
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

/// `[password]`.
#[derive(Clone, Debug)]
pub struct Password {
    /// The fewest code points of a new password.
    pub min_length: usize,
    /// Passwords that are not accepted, besides the commonest.
    pub denied: DenyList,
    /// Whether failed sign-ins slow down further ones.
    pub throttle: bool,
    /// Threads that hash; `None` means one a core.
    pub hash_threads: Option<usize>,
    /// How many hashes may wait; past it, 503.
    pub hash_queue: usize,
}

/// What NIST SP 800-63B-4 asks for when the password is the only factor.
const ADVISED_LENGTH: usize = 15;

static MIN_LENGTH: Key = Key::new(
    "min_length",
    Preset::Value("8"),
    "code points, 8 to 128",
    "The shortest new password. `portcullis check` warns under 15.",
);
static DENY_LIST: Key = Key::new(
    "deny_list",
    Preset::Otherwise("none"),
    "path of a file, from the working folder",
    "Passwords that are not accepted, one a line in UTF-8, in any case; read at the start. The most used ones are \
     refused without it. Each takes 8 bytes of memory.",
);
static THROTTLE: Key = Key::new(
    "throttle",
    Preset::Value("true"),
    "true or false",
    "Failed sign-ins slow down further ones, for the account and for the client. `false` is for load tests.",
);
static HASH_THREADS: Key = Key::new(
    "hash_threads",
    Preset::Otherwise("one a core"),
    "threads",
    "Threads that hash passwords. Each keeps 19 MiB once it was used.",
);
static HASH_QUEUE: Key = Key::new(
    "hash_queue",
    Preset::Value("64"),
    "passwords",
    "How many passwords may wait to be hashed; past it the answer is 503.",
);

pub(crate) static SECTION: Section =
    Section { name: "password", keys: &[&MIN_LENGTH, &DENY_LIST, &THROTTLE, &HASH_THREADS, &HASH_QUEUE] };

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
        let message = "whoever guesses passwords is not slowed down by failures";
        advice.push(Notice::new(&section.place_of(&THROTTLE), message).hint("leave password.throttle at true"));
    }
    if password.min_length < ADVISED_LENGTH {
        let message = format!("passwords may be as short as {} characters", password.min_length);
        let hint = format!(
            "set password.min_length = {ADVISED_LENGTH}: NIST SP 800-63B-4 asks for it where there is no second factor"
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
    fn sr_01_the_minimum_is_8_by_default_and_cannot_be_lower_and_under_15_is_warned_of() {
        let default = settings("", &[]);
        assert_eq!(default.password.min_length, 8);
        assert!(default.advice.iter().any(|notice| notice.message == "passwords may be as short as 8 characters"));
        let said = refused("[password]\nmin_length = 7\n", &[]);
        assert!(
            said.contains("password.min_length = 7 cannot be used\n  hint: it is a whole number from 8 to 128"),
            "{said}"
        );
        let advised = settings("[password]\nmin_length = 15\n", &[]);
        assert!(!advised.advice.iter().any(|notice| notice.message.contains("as short as")));
    }

    #[test]
    fn sr_04_a_deny_list_is_read_at_the_start_and_a_bad_one_is_told_with_file_and_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("denied.txt");
        let setting = format!("[password]\ndeny_list = \"{}\"\n", file.display());
        let said = refused(&setting, &[]);
        assert!(said.contains("denied.txt: the file cannot be read: No such file"), "{said}");
        std::fs::write(&file, b"acme rockets\nbad \xff line\n").expect("writable");
        let said = refused(&setting, &[]);
        assert!(said.contains("password.deny_list") && said.contains("denied.txt: line 2 is not UTF-8"), "{said}");
        std::fs::write(&file, "acme rockets\nother one\n").expect("writable");
        assert_eq!(settings(&setting, &[]).password.denied.len(), 2);
        assert!(settings("", &[]).password.denied.is_empty());
    }
}
