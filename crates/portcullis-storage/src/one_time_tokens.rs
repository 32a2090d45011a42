//! One-time tokens of mailed links. Only their hash is stored, and each works once (SR-12).

use std::str::FromStr;

use portcullis_model::{Timestamp, UserId};

use crate::engine::columns::{FromRow, columns, sql};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::stored_types::stored_by_name;
use crate::engine::value::as_bigint;
use crate::store::{Store, Tx};

/// What a token may be used for. A token of one purpose is useless for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPurpose {
    /// Verifies an e-mail address.
    VerifyEmail,
    /// Sets a new password.
    ResetPassword,
    /// Creates the first administrator.
    FirstAdmin,
    /// Completes an invited account.
    Invitation,
}

impl TokenPurpose {
    /// Returns the name that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::FirstAdmin => "first_admin",
            Self::Invitation => "invitation",
        }
    }
}

impl FromStr for TokenPurpose {
    type Err = UnknownPurpose;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::VerifyEmail, Self::ResetPassword, Self::FirstAdmin, Self::Invitation];
        all.into_iter().find(|purpose| purpose.as_str() == text).ok_or(UnknownPurpose)
    }
}

stored_by_name!(TokenPurpose);

/// The text is not the name of a token's purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one-time tokens have no such purpose")]
pub struct UnknownPurpose;

/// A token to be stored.
#[derive(Clone, Debug)]
pub struct NewOneTimeToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What the token may be used for.
    pub purpose: TokenPurpose,
    /// The token's user; `None` for the first administrator, who does not exist yet.
    pub user_id: Option<UserId>,
    /// When the token was created.
    pub created_at: Timestamp,
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// A token that can be used. Looking at it does not spend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsableToken {
    /// What the token may be used for.
    pub purpose: TokenPurpose,
    /// The token's user, if it has one.
    pub user_id: Option<UserId>,
}

/// A token that was just spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpentToken {
    /// The token's user, if it has one.
    pub user_id: Option<UserId>,
}

columns! {
    NewOneTimeToken writes one_time_tokens { hash, purpose, user_id, created_at, expires_at }
}
columns! {
    UsableToken reads one_time_tokens { purpose, user_id }
}
columns! {
    SpentToken reads one_time_tokens { user_id }
}

static FIND: Sql = Sql::select(
    "one_time_tokens",
    sql!(
        "SELECT ",
        UsableToken::COLUMNS,
        " FROM one_time_tokens WHERE hash = $1 AND used_at IS NULL AND expires_at > $2"
    ),
);
static CONSUME: Sql = Sql::update(
    "one_time_tokens",
    sql!(
        "UPDATE one_time_tokens SET used_at = $3 \
         WHERE hash = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3 RETURNING ",
        SpentToken::COLUMNS
    ),
);
static DISCARD: Sql = Sql::delete(
    "one_time_tokens",
    "DELETE FROM one_time_tokens WHERE purpose = $1 AND used_at IS NULL \
     AND (user_id = $2 OR ($2 IS NULL AND user_id IS NULL))",
);

static DISCARD_OLDER: Sql = Sql::delete(
    "one_time_tokens",
    "DELETE FROM one_time_tokens WHERE purpose = $1 AND user_id = $2 AND used_at IS NULL AND hash NOT IN \
     (SELECT hash FROM one_time_tokens WHERE purpose = $1 AND user_id = $2 AND used_at IS NULL \
     ORDER BY created_at DESC, hash LIMIT $3)",
);

impl Store {
    /// Returns the token with this hash if it could be used now. It spends nothing: only
    /// [`consume_one_time_token`](Tx::consume_one_time_token) decides who may use the token.
    pub async fn usable_one_time_token(
        &self,
        hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<UsableToken>, StoreError> {
        self.one(&FIND, vec![hash.into(), now.into()]).await?.map(|row| UsableToken::from_row(&row)).transpose()
    }
}

impl Tx {
    /// Stores a token's hash.
    pub async fn insert_one_time_token(&mut self, new: &NewOneTimeToken) -> Result<(), StoreError> {
        self.insert(new).await
    }

    /// Spends a token: of any number of callers exactly one gets it. `None` when the token does not exist, has another
    /// purpose, was spent or has expired; the caller does not learn which.
    pub async fn consume_one_time_token(
        &mut self,
        hash: &[u8; 32],
        purpose: TokenPurpose,
        now: Timestamp,
    ) -> Result<Option<SpentToken>, StoreError> {
        let row = self.one(&CONSUME, vec![hash.into(), purpose.into(), now.into()]).await?;
        row.map(|row| SpentToken::from_row(&row)).transpose()
    }

    /// Deletes all unspent tokens of a purpose for a user except the newest.
    pub async fn discard_older_one_time_tokens(
        &mut self,
        purpose: TokenPurpose,
        user_id: UserId,
        newest: u64,
    ) -> Result<u64, StoreError> {
        self.execute(&DISCARD_OLDER, vec![purpose.into(), user_id.into(), as_bigint(newest)]).await
    }

    /// Deletes the unspent tokens of a purpose for a user, or those without a user, and returns how many they were.
    pub async fn discard_one_time_tokens(
        &mut self,
        purpose: TokenPurpose,
        user_id: Option<UserId>,
    ) -> Result<u64, StoreError> {
        self.execute(&DISCARD, vec![purpose.into(), user_id.into()]).await
    }
}
