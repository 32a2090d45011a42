//! One-time tokens of mailed links: only their hash is stored, and each is good once (SR-12).

use std::str::FromStr;

use portcullis_model::{Timestamp, UserId};
use uuid::Uuid;

use crate::engine::error::StoreError;
use crate::engine::statement::{Runs, Sql};
use crate::store::{Store, Tx};

/// What a token is good for. A token of one purpose is nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPurpose {
    /// Confirms an e-mail address.
    VerifyEmail,
    /// Sets a new password.
    ResetPassword,
    /// Makes the first administrator.
    FirstAdmin,
    /// Completes an invited account.
    Invitation,
}

impl TokenPurpose {
    /// The name in the database.
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

/// The text is no token's purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such purpose of a token")]
pub struct UnknownPurpose;

/// A token to be stored.
#[derive(Clone, Debug)]
pub struct NewOneTimeToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What it is good for.
    pub purpose: TokenPurpose,
    /// For whom; `None` for the first administrator, who does not exist yet.
    pub user_id: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// A token that is good, and not spent by asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoodToken {
    /// What it is good for.
    pub purpose: TokenPurpose,
    /// For whom it is.
    pub user_id: Option<UserId>,
}

/// A token that was good and now is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpentToken {
    /// For whom it was.
    pub user_id: Option<UserId>,
}

static INSERT: Sql = Sql::insert(
    "one_time_tokens",
    "INSERT INTO one_time_tokens (hash, purpose, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
);
static FIND: Sql = Sql::select(
    "one_time_tokens",
    "SELECT purpose, user_id FROM one_time_tokens WHERE hash = $1 AND used_at IS NULL AND expires_at > $2",
);
static CONSUME: Sql = Sql::update(
    "one_time_tokens",
    "UPDATE one_time_tokens SET used_at = $3 \
     WHERE hash = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3 RETURNING user_id",
);
static DISCARD: Sql = Sql::delete(
    "one_time_tokens",
    "DELETE FROM one_time_tokens WHERE purpose = $1 AND used_at IS NULL \
     AND (user_id = $2 OR ($2 IS NULL AND user_id IS NULL))",
);

impl Store {
    /// The token with this hash, if it is good now. Spends nothing: only
    /// [`consume_one_time_token`](Tx::consume_one_time_token) decides who gets it.
    pub async fn good_one_time_token(&self, hash: &[u8; 32], now: Timestamp) -> Result<Option<GoodToken>, StoreError> {
        let Some(row) = self.one(&FIND, vec![hash.to_vec().into(), now.into()]).await? else { return Ok(None) };
        let user_id = row.get::<Option<Uuid>>("user_id")?.map(UserId);
        Ok(Some(GoodToken { purpose: row.parsed("purpose")?, user_id }))
    }
}

impl Tx {
    /// Stores a token's hash.
    pub async fn insert_one_time_token(&mut self, new: &NewOneTimeToken) -> Result<(), StoreError> {
        let values = vec![
            new.hash.to_vec().into(),
            new.purpose.as_str().into(),
            new.user_id.map(|id| id.0).into(),
            new.created_at.into(),
            new.expires_at.into(),
        ];
        self.execute(&INSERT, values).await.map(|_| ())
    }

    /// Spends a token: of any number of callers exactly one gets it. `None` when it is unknown, of another purpose,
    /// spent or expired; nobody is told which.
    pub async fn consume_one_time_token(
        &mut self,
        hash: &[u8; 32],
        purpose: TokenPurpose,
        now: Timestamp,
    ) -> Result<Option<SpentToken>, StoreError> {
        let values = vec![hash.to_vec().into(), purpose.as_str().into(), now.into()];
        let Some(row) = self.one(&CONSUME, values).await? else { return Ok(None) };
        Ok(Some(SpentToken { user_id: row.get::<Option<Uuid>>("user_id")?.map(UserId) }))
    }

    /// Forgets the unspent tokens of a purpose for a user, or those for nobody yet, and says how many.
    pub async fn discard_one_time_tokens(
        &mut self,
        purpose: TokenPurpose,
        user_id: Option<UserId>,
    ) -> Result<u64, StoreError> {
        self.execute(&DISCARD, vec![purpose.as_str().into(), user_id.map(|id| id.0).into()]).await
    }
}
