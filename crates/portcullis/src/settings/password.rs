//! `[password]`: how long a password must be, and the room where they are hashed.

use portcullis_model::password::{MAX_LENGTH, MIN_LENGTH_FLOOR};

use super::key::{Key, Preset, Section};
use super::notice::{Notice, Problems};
use super::reader::Reader;
use super::tree::Table;

/// `[password]`.
#[derive(Clone, Copy, Debug)]
pub struct Password {
    /// The fewest code points of a new password.
    pub min_length: usize,
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

pub(super) static SECTION: Section = Section { name: "password", keys: &[&MIN_LENGTH, &HASH_THREADS, &HASH_QUEUE] };

pub(super) fn read(tree: &Table, problems: &mut Problems, advice: &mut Vec<Notice>) -> Password {
    let mut section = Reader::open(tree, &SECTION, problems);
    let bound = |length: usize| u32::try_from(length).expect("password lengths are small");
    let size = |number: u32| usize::try_from(number).expect("a usize has at least 32 bits");
    let password = Password {
        min_length: size(section.number(&MIN_LENGTH, bound(MIN_LENGTH_FLOOR), bound(MAX_LENGTH))),
        hash_threads: section.optional_number(&HASH_THREADS, 1, 1024).map(size),
        hash_queue: size(section.number(&HASH_QUEUE, 1, 100_000)),
    };
    if password.min_length < ADVISED_LENGTH {
        let message = format!("passwords may be as short as {} characters", password.min_length);
        let hint = format!(
            "set password.min_length = {ADVISED_LENGTH}: NIST SP 800-63B-4 asks for it where there is no second factor"
        );
        advice.push(Notice::new(&section.place_of(&MIN_LENGTH), message).hint(hint));
    }
    password
}

#[cfg(test)]
mod tests {
    use crate::settings::testing::{refused, settings};

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
}
