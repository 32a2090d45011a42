//! The rules for new passwords, wherever one is set (SR-01 to SR-04): a least length, none of the most used passwords,
//! none of the operator's list, and not built from words that a guesser tries for this user and this service.

pub(crate) mod deny_list;
mod most_used;

use portcullis_model::password::comparable;
use portcullis_model::{InvalidInput, NewPassword, SecretString, User};

use crate::error::IdentityError;
use crate::password_policy::deny_list::DenyList;
use crate::password_policy::most_used::is_most_used;

/// The rules in force.
pub(crate) struct PasswordPolicy {
    min_length: usize,
    denied: DenyList,
    /// The words of this service, in the form of [`comparable`].
    service: Vec<String>,
}

/// The user whose password is checked: a password must not be built from these words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) email: &'a str,
    pub(crate) username: &'a str,
    pub(crate) first_name: &'a str,
    pub(crate) last_name: &'a str,
}

/// The name of the product, which every guesser knows.
const PRODUCT: &str = "portcullis";
/// The shortest word that counts, in characters: shorter ones are in too many passwords by chance.
const LEAST_WORD: usize = 3;
/// Characters of a password that must lie outside of the words.
const LEAST_REST: usize = 6;

impl<'a> About<'a> {
    /// The words of an existing user.
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
    /// The host of `public_url` counts as a word of the service.
    pub(crate) fn new(min_length: usize, denied: DenyList, public_url: &str) -> Self {
        let host = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or_default();
        Self { min_length, denied, service: words_of([PRODUCT, host]) }
    }

    /// Returns the password, or a sentence that says how to find a better one.
    pub(crate) fn check(&self, text: &str, about: &About<'_>) -> Result<NewPassword, InvalidInput> {
        let password = NewPassword::parse(text, self.min_length)?;
        let comparable = comparable(text);
        let refused = |problem: &str| Err(InvalidInput(problem.to_owned()));
        if is_most_used(&comparable) {
            return refused(
                "Password is one of the most used ones, which guessers try first: \
                 choose another, such as several unrelated words",
            );
        }
        if self.denied.holds(&comparable) {
            return refused("Password is on the list of passwords that this service refuses: choose another");
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

    /// Checks a new password and its confirmation. A confirmation that differs has an error of its own, reported when
    /// the password passes the rules.
    pub(crate) fn new_password(
        &self,
        text: &SecretString,
        confirm: &SecretString,
        about: &About<'_>,
    ) -> Result<NewPassword, IdentityError> {
        let password = self
            .check(text.expose(), about)
            .map_err(|InvalidInput(problem)| IdentityError::Validation(vec![problem]))?;
        if text.expose() != confirm.expose() {
            return Err(IdentityError::PasswordsDoNotMatch);
        }
        Ok(password)
    }
}

/// The texts and their parts in the form of [`comparable`], without those shorter than [`LEAST_WORD`].
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

/// Whether the password contains none of the words, or enough other characters.
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
    fn sr_04_most_used_passwords_are_refused_in_any_case() {
        for common in ["password", "PassWord", "qwertyuiop", "iloveyou", "1q2w3e4r"] {
            assert!(refusal(common).is_some_and(|problem| problem.contains("most used")), "{common}");
        }
        assert_eq!(refusal("correct horse battery staple"), None);
        assert_eq!(refusal("pass"), Some("Password must be 8 to 128 characters".to_owned()));
    }

    #[test]
    fn sr_04_words_of_user_and_service_make_no_password() {
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
            assert!(refusal(bad).is_some_and(|problem| problem.contains("leave them out")), "{bad}");
        }
    }

    #[test]
    fn a_word_within_a_long_password_is_accepted() {
        for good in ["my cat is called ada", "portcullis over the moat", "the countess of 12 mice", "xadax-9-trains"] {
            assert_eq!(refusal(good), None, "{good}");
        }
        let short = About { email: "a@b.example", username: "abc", first_name: "Å", last_name: "Li" };
        let policy = PasswordPolicy::new(8, DenyList::default(), "http://127.0.0.1:8000");
        assert!(policy.check("li-å-a-17", &short).is_ok(), "too short to count");
    }
}
