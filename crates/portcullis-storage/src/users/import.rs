//! Accounts brought from elsewhere, many at once: what cannot be made is left out and told, the rest is made.

use std::collections::HashMap;

use portcullis_model::{PermissionSet, User, UserId};

use super::read::NewUser;
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Runs, Sql};
use crate::engine::value::Value;
use crate::store::Tx;

/// An account to be made as it was elsewhere.
#[derive(Clone, Debug)]
pub struct ImportedUser {
    /// The account and its password's hash.
    pub new: NewUser,
    /// What it may do beyond its role.
    pub permissions: PermissionSet,
}

/// What became of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It was made.
    Made,
    /// It is there, by id and address: an earlier attempt made it.
    AlreadyThere,
    /// Another account has its id.
    IdTaken,
    /// Another account has its address.
    EmailTaken,
    /// Another account has its username.
    UsernameTaken,
}

/// Rows in one INSERT: thirteen parameters each, below the 32,766 of SQLite.
const BATCH: usize = 1_000;
const COLUMNS: usize = 13;

static INSERT: Sql = Sql::insert("users", "");
static GRANT: Sql = Sql::insert("user_permissions", "");
static HOLDERS: Sql = Sql::select("users", "");

impl Tx {
    /// Makes the accounts that can be made, and says of each what became of it, in order.
    pub async fn import_users(&mut self, people: &[ImportedUser]) -> Result<Vec<ImportOutcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(people.len());
        for batch in people.chunks(BATCH) {
            outcomes.extend(self.import_batch(batch).await?);
        }
        Ok(outcomes)
    }

    async fn import_batch(&mut self, people: &[ImportedUser]) -> Result<Vec<ImportOutcome>, StoreError> {
        let dialect = self.dialect();
        let row = |n: usize| {
            let parameter = |column| dialect.parameter(n * COLUMNS + column);
            let parameters: Vec<String> = (1..=COLUMNS).map(parameter).collect();
            format!("({}, 1, 1)", parameters.join(", "))
        };
        let rows: Vec<String> = (0..people.len()).map(row).collect();
        let text = format!(
            "INSERT INTO users (id, email, username, first_name, last_name, avatar, role, is_active, password_hash, \
             email_verified_at, last_login_at, created_at, updated_at, epoch, token_epoch) VALUES {} \
             ON CONFLICT DO NOTHING RETURNING id",
            rows.join(", ")
        );
        let values: Vec<Value> = people.iter().flat_map(|person| person.new.values()).collect();
        let made = self.all(&INSERT.with_text(text), values).await?;
        let mut made: HashMap<UserId, bool> =
            made.iter().map(|row| Ok((row.user_id("id")?, true))).collect::<Result<_, StoreError>>()?;
        let mut outcomes: Vec<Option<ImportOutcome>> = people
            .iter()
            // Of two in one batch with one id, the first was made.
            .map(|person| made.remove(&person.new.user.id).map(|_| ImportOutcome::Made))
            .collect();
        self.grant(people, &outcomes).await?;
        if outcomes.iter().any(Option::is_none) {
            let holders = self.holders(people, &outcomes).await?;
            for (person, outcome) in people.iter().zip(&mut outcomes) {
                if outcome.is_none() {
                    *outcome = Some(holders.judge(person));
                }
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    async fn grant(&mut self, people: &[ImportedUser], outcomes: &[Option<ImportOutcome>]) -> Result<(), StoreError> {
        let made = people.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_some()).map(|(person, _)| person);
        let grants: Vec<(UserId, &str)> =
            made.flat_map(|person| person.permissions.iter().map(|name| (person.new.user.id, name.as_str()))).collect();
        let dialect = self.dialect();
        for batch in grants.chunks(BATCH) {
            let row = |n: usize| format!("({}, {})", dialect.parameter(2 * n + 1), dialect.parameter(2 * n + 2));
            let rows: Vec<String> = (0..batch.len()).map(row).collect();
            let text = format!(
                "INSERT INTO user_permissions (user_id, permission) VALUES {} ON CONFLICT DO NOTHING",
                rows.join(", ")
            );
            let values: Vec<Value> = batch.iter().flat_map(|(id, name)| [id.0.into(), (*name).into()]).collect();
            self.execute(&GRANT.with_text(text), values).await?;
        }
        Ok(())
    }

    /// Who has the ids, addresses and names that were not free.
    async fn holders(
        &self,
        people: &[ImportedUser],
        outcomes: &[Option<ImportOutcome>],
    ) -> Result<Holders, StoreError> {
        let waiting = people.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_none());
        let users: Vec<&User> = waiting.map(|(person, _)| &person.new.user).collect();
        let list = |nth: usize| {
            let parameter = |n| self.dialect().parameter(nth * users.len() + n);
            (1..=users.len()).map(parameter).collect::<Vec<_>>().join(", ")
        };
        let (ids, emails, usernames) = (list(0), list(1), list(2));
        let mut values: Vec<Value> = users.iter().map(|user| user.id.0.into()).collect();
        values.extend(users.iter().map(|user| user.email.as_str().into()));
        values.extend(users.iter().map(|user| user.username.as_str().into()));
        let text = format!(
            "SELECT id, email, username FROM users WHERE id IN ({ids}) OR email IN ({emails}) OR username IN ({usernames})"
        );
        let mut holders = Holders::default();
        for row in self.all(&HOLDERS.with_text(text), values).await? {
            holders.add(&row)?;
        }
        Ok(holders)
    }
}

/// Accounts by what they hold.
#[derive(Default)]
struct Holders {
    addresses: HashMap<UserId, String>,
    by_email: HashMap<String, UserId>,
}

impl Holders {
    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        let (id, email): (UserId, String) = (row.user_id("id")?, row.get("email")?);
        self.by_email.insert(email.clone(), id);
        self.addresses.insert(id, email);
        Ok(())
    }

    fn judge(&self, person: &ImportedUser) -> ImportOutcome {
        let user = &person.new.user;
        match self.addresses.get(&user.id) {
            Some(email) if email == user.email.as_str() => ImportOutcome::AlreadyThere,
            Some(_) => ImportOutcome::IdTaken,
            None if self.by_email.contains_key(user.email.as_str()) => ImportOutcome::EmailTaken,
            None => ImportOutcome::UsernameTaken,
        }
    }
}
