//! Stored password hashes in every supported format: our own, and those of imported users (SR-07, SR-08).

use crate::hashing::argon2::{Argon2Hash, Memory};
use crate::hashing::bcrypt::BcryptHash;
use crate::hashing::notation::HashRefused;
use crate::hashing::pbkdf2::Pbkdf2Hash;
use crate::hashing::scrypt::ScryptHash;

/// The longest stored hash that is parsed, in bytes.
const LONGEST: usize = 512;
/// Checks that passwords can be compared with a hash that another program made.
pub fn check_stored_hash(stored: &str) -> Result<(), HashRefused> {
    StoredHash::parse(stored).map(|_| ())
}

/// A stored hash within the accepted cost.
pub(crate) enum StoredHash {
    Argon2(Argon2Hash),
    Bcrypt(BcryptHash),
    Scrypt(ScryptHash),
    Pbkdf2(Pbkdf2Hash),
}

impl StoredHash {
    /// Parses a hash in the format that its prefix names.
    pub(crate) fn parse(stored: &str) -> Result<Self, HashRefused> {
        let begins = |with: &str| stored.starts_with(with);
        if stored.len() > LONGEST {
            Err(HashRefused::Unknown)
        } else if begins("$argon2") {
            Argon2Hash::parse(stored).map(Self::Argon2)
        } else if begins("$2") {
            BcryptHash::parse(stored).map(Self::Bcrypt)
        } else if begins("$scrypt$") {
            ScryptHash::parse(stored).map(Self::Scrypt)
        } else {
            Pbkdf2Hash::parse(stored).map(Self::Pbkdf2)
        }
    }

    pub(crate) fn matches(&self, password: &str, memory: &mut Memory) -> bool {
        match self {
            Self::Argon2(hash) => hash.matches(password, memory),
            Self::Bcrypt(hash) => hash.matches(password),
            Self::Scrypt(hash) => hash.matches(password),
            Self::Pbkdf2(hash) => hash.matches(password),
        }
    }

    /// Whether the hash should be replaced by one of ours, now that the password is known.
    pub(crate) fn is_outdated_for(&self, password: &str) -> bool {
        match self {
            Self::Argon2(hash) => hash.is_outdated(),
            Self::Bcrypt(_) => BcryptHash::uses_all_of(password),
            Self::Scrypt(_) | Self::Pbkdf2(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One password as passlib, Django, argon2-cffi and other programs have stored it.
    const ELSEWHERE: [&str; 11] = [
        "$argon2i$v=19$m=64,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$iqKmlwyAjtwBZa/0UOvZ6MALiP/ft0/F",
        "$argon2d$v=19$m=64,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$R7m5bCH/mzHo6ZlGA4eK9qaa1iWJfI0J",
        "$argon2id$v=19$m=64,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$b1HigrPxbtucjrvxjXmoG235EOG5UKbZ",
        "$argon2i$v=16$m=64,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$nhxs/R5l15tjnYmNWDQ75++rG62nzTXB",
        "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
        "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$7AnzIswxwEinpwz+ntydndYfVHPvOACmX9Vvo8hO1qM",
        "$scrypt$ln=4,r=1,p=3$MDEyMzQ1Njc4OWFiY2RlZg$OGteJOXRpfKKKeXPxilCE7ABBcOPBaQjRUWO7PqpF5Y",
        "$pbkdf2-sha256$1000$.//.MDEyMzQ1Njc4OQ$Mb7j2U5V3CQls1QiRzylyUg6HxI.L7Fzym8EGxpjaYI",
        "$pbkdf2-sha512$1000$MDEyMzQ1Njc4OWFiY2RlZg$5bTW2oeyDJyGJPcmEr.mRDE11ghpozWrDGnSNhRXo2ZCu0KHRDiUMAVEGzLJC.oDhRoeIja9J1iLIv9ptDJMfQ",
        "$pbkdf2-sha256$i=1000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES+wqLsOT5YmiRBplI",
        "pbkdf2_sha256$1000$seasalt1234$JlBQ/OWmu3PcCFg2koQd315wDykzd702rqDsH8M7iWI=",
    ];

    #[test]
    fn sr_07_hashes_of_other_programs_match_and_are_outdated() {
        let mut memory = Memory::default();
        for text in ELSEWHERE {
            let hash = StoredHash::parse(text).expect(text);
            assert!(hash.matches("correct horse battery staple", &mut memory), "{text}");
            for wrong in ["correct horse battery stapl", "Correct horse battery staple", ""] {
                assert!(!hash.matches(wrong, &mut memory), "{text} matches {wrong:?}");
            }
            assert!(hash.is_outdated_for("correct horse battery staple"), "{text}");
        }
    }

    #[test]
    fn a_hash_that_was_cut_short_is_none() {
        for text in ELSEWHERE {
            let cut = text.rsplit_once('$').expect("a last part").0;
            for ending in ["", "$", "$MDEyMzQ1Njc4OQ"] {
                assert!(check_stored_hash(&format!("{cut}{ending}")).is_err(), "{cut}{ending}");
            }
            assert!(check_stored_hash(&format!("{text}$")).is_err(), "{text}$");
        }
    }

    #[test]
    fn sr_08_expensive_scrypt_and_pbkdf2_hashes_are_refused() {
        let scrypt = |cost: &str| {
            check_stored_hash(&format!(
                "$scrypt${cost}$MDEyMzQ1Njc4OWFiY2RlZg$7AnzIswxwEinpwz+ntydndYfVHPvOACmX9Vvo8hO1qM"
            ))
        };
        assert_eq!(scrypt("ln=17,r=8,p=1"), Ok(()));
        for cost in [
            "ln=18,r=8,p=1",
            "ln=17,r=32,p=1",
            "ln=14,r=8,p=17",
            "ln=1,r=4294967295,p=4294967295",
            "ln=4000000000,r=8,p=1",
        ] {
            assert_eq!(scrypt(cost), Err(HashRefused::TooExpensive), "{cost}");
        }
        for bad in ["ln=0,r=8,p=1", "ln=10,r=0,p=1", "ln=10,r=8,p=0", "ln=10,r=8"] {
            assert_eq!(scrypt(bad), Err(HashRefused::Unknown), "{bad}");
        }
        let django = |cost: &str| {
            check_stored_hash(&format!("pbkdf2_sha256${cost}$seasalt1234$JlBQ/OWmu3PcCFg2koQd315wDykzd702rqDsH8M7iWI="))
        };
        assert_eq!(django("10000000"), Ok(()));
        assert_eq!(django("10000001"), Err(HashRefused::TooExpensive));
        assert_eq!(django("0"), Err(HashRefused::Unknown));
        let sha512 = |cost: &str| check_stored_hash(&ELSEWHERE[8].replace("$1000$", &format!("${cost}$")));
        assert_eq!((sha512("2000000"), sha512("2000001")), (Ok(()), Err(HashRefused::TooExpensive)));
        let two_blocks = "$pbkdf2-sha256$i=6000000$MDEyMzQ1Njc4OWFiY2RlZg$5bTW2oeyDJyGJPcmEr+mRDE11ghpozWrDGnSNhRXo2ZCu0KHRDiUMAVEGzLJC+oDhRoeIja9J1iLIv9ptDJMfQ";
        assert_eq!(check_stored_hash(two_blocks), Err(HashRefused::TooExpensive));
    }

    #[test]
    fn what_is_no_hash_matches_nothing() {
        let long = format!("pbkdf2_sha256$1${}$", "s".repeat(LONGEST));
        for text in
            ["", "$", "$2", "$2b$", "plain text", "$1$md5$x", "$argon2id$", "$scrypt$", "$pbkdf2-sha256$", &long]
        {
            assert_eq!(check_stored_hash(text), Err(HashRefused::Unknown), "{text:.40}");
        }
    }
}
