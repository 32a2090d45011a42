//! What a new password must be, wherever one is set.

use portcullis_model::{NewPassword, Rejected, SecretString, User};

use crate::error::IdentityError;
use crate::identity::Parts;

/// Whose password it is: their words do not make a password.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) email: &'a str,
    pub(crate) username: &'a str,
    pub(crate) first_name: &'a str,
    pub(crate) last_name: &'a str,
}

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
        let password =
            self.check_password(text, about).map_err(|Rejected(problem)| IdentityError::Validation(vec![problem]))?;
        if text.expose() != confirm.expose() {
            return Err(IdentityError::PasswordsDoNotMatch);
        }
        Ok(password)
    }

    /// Checks a new password.
    pub(crate) fn check_password(&self, text: &SecretString, _about: &About<'_>) -> Result<NewPassword, Rejected> {
        NewPassword::parse(text.expose(), self.options.min_password)
    }
}
