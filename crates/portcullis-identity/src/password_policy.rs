//! What a new password must be, wherever one is set (requirements 1 to 4): long
//! enough, not among the commonest, not on the operator's list, and not made of
//! words that anybody would try for this person here.

mod common;
pub(crate) mod deny_list;

use portcullis_model::password::comparable;
use portcullis_model::{InvalidInput, NewPassword, SecretString, User};

use crate::error::IdentityError;
use crate::identity::Parts;
use crate::password_policy::common::is_common;
use crate::password_policy::deny_list::DenyList;

/// The rules.
pub(crate) struct PasswordPolicy {
    min_length: usize,
    denied: DenyList,
    /// The words of this service, as they compare.
    service: Vec<String>,
}

/// Whose password it is: their words do not make a password.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) email: &'a str,
    pub(crate) username: &'a str,
    pub(crate) first_name: &'a str,
    pub(crate) last_name: &'a str,
}

/// What everybody knows who knows what this is.
const PRODUCT: &str = "portcullis";
/// Shorter words are in too many passwords by chance, in characters.
const LEAST_WORD: usize = 3;
/// What must be left of a password without the words in it, in characters.
const LEAST_REST: usize = 6;

impl<'a> About<'a> {
    /// An account that exists.
    pub(crate) fn user(user: &'a User) -> Self {
        Self {
            email: user.email.as_str(),
            username: user.username.as_str(),
            first_name: user.first_name.as_str(),
            last_name: user.last_name.as_str(),
        }
    }

    fn words(&self) -> Vec<String> {
        let local = self.email.rsplit_once('@').map_or(self.email, |(local, _)| local);
        words_of([self.email, local, self.username, self.first_name, self.last_name])
    }
}

impl PasswordPolicy {
    /// `public_url` is where links lead: its host is no secret.
    pub(crate) fn new(min_length: usize, denied: DenyList, public_url: &str) -> Self {
        let host = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or_default();
        Self { min_length, denied, service: words_of([PRODUCT, host]) }
    }

    /// The password, or the sentence that says how to find a better one.
    pub(crate) fn check(&self, text: &str, about: &About<'_>) -> Result<NewPassword, InvalidInput> {
        let password = NewPassword::parse(text, self.min_length)?;
        let comparable = comparable(text);
        let told = |problem: &str| Err(InvalidInput(problem.to_owned()));
        if is_common(&comparable) {
            return told(
                "Password is one of the most used ones, which are tried first: \
                 choose another, such as several words that have nothing to do with each other",
            );
        }
        if self.denied.holds(&comparable) {
            return told("Password is on the list of those that are not accepted here: choose another");
        }
        let words = about.words();
        if !leaves_enough(&comparable, words.iter().chain(&self.service)) {
            return Err(InvalidInput(format!(
                "Password is made of your name, username or email address, or of the name of this service: \
                 leave them out, or add at least {LEAST_REST} other characters"
            )));
        }
        Ok(password)
    }
}

/// The texts and the parts they are made of, as they compare, without those that are too short to count.
fn words_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut words = Vec::new();
    for text in texts {
        let text = comparable(text.trim());
        words.extend(text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
        words.push(text);
    }
    words.retain(|word| word.chars().count() >= LEAST_WORD);
    words
}

/// Whether the words, wherever they stand in the password, leave enough of it, or do not stand in it.
fn leaves_enough<'a>(password: &str, words: impl Iterator<Item = &'a String>) -> bool {
    let mut covered = vec![false; password.len()];
    for word in words {
        for (at, found) in password.match_indices(word.as_str()) {
            covered[at..at + found.len()].fill(true);
        }
    }
    let rest = password.char_indices().filter(|(at, _)| !covered[*at]).count();
    rest >= LEAST_REST || !covered.contains(&true)
}

impl Parts {
    /// Checks a new password and that it was typed twice alike; a confirmation
    /// that differs is told by its own name when nothing else is wrong.
    pub(crate) fn new_password(
        &self,
        text: &SecretString,
        confirm: &SecretString,
        about: &About<'_>,
    ) -> Result<NewPassword, IdentityError> {
        let password = self
            .check_password(text, about)
            .map_err(|InvalidInput(problem)| IdentityError::Validation(vec![problem]))?;
        if text.expose() != confirm.expose() {
            return Err(IdentityError::PasswordsDoNotMatch);
        }
        Ok(password)
    }

    /// Checks a new password.
    pub(crate) fn check_password(&self, text: &SecretString, about: &About<'_>) -> Result<NewPassword, InvalidInput> {
        self.policy.check(text.expose(), about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: About<'_> =
        About { email: "ada.byron@example.org", username: "countess", first_name: "Ada", last_name: "King-Lovelace" };

    fn refusal(text: &str) -> Option<String> {
        let policy = PasswordPolicy::new(8, DenyList::default(), "https://gate.acme.example:8443");
        policy.check(text, &ADA).err().map(|InvalidInput(problem)| problem)
    }

    #[test]
    fn sr_04_the_commonest_passwords_are_refused_in_any_case() {
        for common in ["password", "PassWord", "qwertyuiop", "iloveyou", "1q2w3e4r"] {
            assert!(refusal(common).is_some_and(|told| told.contains("most used")), "{common}");
        }
        assert_eq!(refusal("correct horse battery staple"), None);
        assert_eq!(refusal("pass"), Some("Password must be 8 to 128 characters".to_owned()));
    }

    #[test]
    fn sr_04_words_of_the_person_and_the_service_do_not_make_a_password() {
        for bad in [
            "ada.byron",
            "ADA.BYRON@example.org",
            "byron1815!",
            "countess",
            "Countess99",
            "adaLovelace",
            "lovelace-king",
            "Portcullis1",
            "portcullis2026",
            "gate.acme.example",
            "acmeacme-12",
        ] {
            assert!(refusal(bad).is_some_and(|told| told.contains("leave them out")), "{bad}");
        }
    }

    #[test]
    fn a_word_within_a_longer_password_is_no_reason_to_refuse_it() {
        for good in ["my cat is called ada", "portcullis over the moat", "the countess of 12 mice", "xadax-9-trains"] {
            assert_eq!(refusal(good), None, "{good}");
        }
        let short = About { email: "a@b.example", username: "abc", first_name: "Å", last_name: "Li" };
        let policy = PasswordPolicy::new(8, DenyList::default(), "http://127.0.0.1:8000");
        assert!(policy.check("li-å-a-17", &short).is_ok(), "too short to count");
    }
}
