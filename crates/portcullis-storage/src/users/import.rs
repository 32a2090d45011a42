//! Importing many users at once. A user that cannot be inserted is left out and reported; the others are inserted.

use std::collections::HashMap;

use portcullis_model::{PermissionSet, User, UserId};

use super::record::NewUser;
use crate::engine::columns::Insert;
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::{ToValue, Value};
use crate::store::Tx;

/// A user to be inserted as another program or database had it.
#[derive(Clone, Debug)]
pub struct ImportedUser {
    /// The user and the password's hash.
    pub new: NewUser,
    /// Permissions beyond those of the role.
    pub permissions: PermissionSet,
}

/// What an import did with a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// The user was inserted.
    Created,
    /// An earlier attempt had inserted the user: id and address are the same.
    AlreadyExists,
    /// Another user has the same id.
    IdTaken,
    /// Another user has the same e-mail address.
    EmailTaken,
    /// Another user has the same username.
    UsernameTaken,
}

/// Rows in one INSERT. At fifteen columns they are far below the 32,766 parameters that SQLite takes.
const BATCH: usize = 1_000;

static INSERT: Sql = Sql::insert("users", "");
static GRANT: Sql = Sql::insert("user_permissions", "");
static EXISTING: Sql = Sql::select("users", "");

impl Tx {
    /// Inserts the users that can be inserted, and returns the outcome of each, in order.
    pub async fn import_users(&mut self, users: &[ImportedUser]) -> Result<Vec<ImportOutcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(users.len());
        for batch in users.chunks(BATCH) {
            outcomes.extend(self.import_batch(batch).await?);
        }
        Ok(outcomes)
    }

    async fn import_batch(&mut self, users: &[ImportedUser]) -> Result<Vec<ImportOutcome>, StoreError> {
        let mut names = Vec::new();
        let mut values: Vec<Value> = Vec::new();
        for user in users {
            let columns;
            (names, columns) = user.new.columns().into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
            values.extend(columns);
        }
        let text = format!(
            "INSERT INTO users ({}) VALUES {} ON CONFLICT DO NOTHING RETURNING id",
            names.join(", "),
            self.parameter_rows(users.len(), names.len())
        );
        let inserted = self.all(&INSERT.with_text(text), values).await?;
        let mut inserted: HashMap<UserId, ()> =
            inserted.iter().map(|row| Ok((row.read("id")?, ()))).collect::<Result<_, StoreError>>()?;
        let mut outcomes: Vec<Option<ImportOutcome>> = users
            .iter()
            // Of two users with one id in a batch, the first was inserted.
            .map(|user| inserted.remove(&user.new.user.id).map(|()| ImportOutcome::Created))
            .collect();
        self.grant(users, &outcomes).await?;
        if outcomes.iter().any(Option::is_none) {
            let existing = self.existing(users, &outcomes).await?;
            for (user, outcome) in users.iter().zip(&mut outcomes) {
                if outcome.is_none() {
                    *outcome = Some(existing.conflict_of(user));
                }
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Returns the parameters of an INSERT of many rows: `($1, $2), ($3, $4)`.
    fn parameter_rows(&self, rows: usize, width: usize) -> String {
        let dialect = self.dialect();
        let row = |n: usize| {
            let parameters: Vec<String> = (1..=width).map(|column| dialect.parameter(n * width + column)).collect();
            format!("({})", parameters.join(", "))
        };
        (0..rows).map(row).collect::<Vec<_>>().join(", ")
    }

    async fn grant(&mut self, users: &[ImportedUser], outcomes: &[Option<ImportOutcome>]) -> Result<(), StoreError> {
        let inserted = users.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_some()).map(|(user, _)| user);
        let grants: Vec<(UserId, &str)> =
            inserted.flat_map(|user| user.permissions.iter().map(|name| (user.new.user.id, name.as_str()))).collect();
        for batch in grants.chunks(BATCH) {
            let text = format!(
                "INSERT INTO user_permissions (user_id, permission) VALUES {} ON CONFLICT DO NOTHING",
                self.parameter_rows(batch.len(), 2)
            );
            let values: Vec<Value> = batch.iter().flat_map(|(id, name)| [id.to_value(), name.to_value()]).collect();
            self.execute(&GRANT.with_text(text), values).await?;
        }
        Ok(())
    }

    /// Returns the users who hold the ids, addresses and usernames that were taken.
    async fn existing(
        &self,
        users: &[ImportedUser],
        outcomes: &[Option<ImportOutcome>],
    ) -> Result<ExistingUsers, StoreError> {
        let refused = users.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_none());
        let users: Vec<&User> = refused.map(|(user, _)| &user.new.user).collect();
        let list = |nth: usize| {
            let parameter = |n| self.dialect().parameter(nth * users.len() + n);
            (1..=users.len()).map(parameter).collect::<Vec<_>>().join(", ")
        };
        let (ids, emails, usernames) = (list(0), list(1), list(2));
        let mut values: Vec<Value> = users.iter().map(|user| user.id.into()).collect();
        values.extend(users.iter().map(|user| user.email.to_value()));
        values.extend(users.iter().map(|user| user.username.to_value()));
        let text = format!(
            "SELECT id, email, username FROM users WHERE id IN ({ids}) OR email IN ({emails}) OR username IN ({usernames})"
        );
        let mut existing = ExistingUsers::default();
        for row in self.all(&EXISTING.with_text(text), values).await? {
            existing.add(&row)?;
        }
        Ok(existing)
    }
}

/// Existing users by id and by address.
#[derive(Default)]
struct ExistingUsers {
    addresses: HashMap<UserId, String>,
    by_email: HashMap<String, UserId>,
}

impl ExistingUsers {
    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        let (id, email): (UserId, String) = (row.read("id")?, row.read("email")?);
        self.by_email.insert(email.clone(), id);
        self.addresses.insert(id, email);
        Ok(())
    }

    /// Returns why a user was not inserted.
    fn conflict_of(&self, imported: &ImportedUser) -> ImportOutcome {
        let user = &imported.new.user;
        match self.addresses.get(&user.id) {
            Some(email) if email == user.email.as_str() => ImportOutcome::AlreadyExists,
            Some(_) => ImportOutcome::IdTaken,
            None if self.by_email.contains_key(user.email.as_str()) => ImportOutcome::EmailTaken,
            None => ImportOutcome::UsernameTaken,
        }
    }
}
