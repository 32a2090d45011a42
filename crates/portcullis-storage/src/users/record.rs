//! The row of a user, and how it is inserted.

use portcullis_model::{SecretString, User};

use crate::engine::columns::{Insert, columns};
use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::engine::value::{ToValue, Value};
use crate::store::Tx;

/// A user to be inserted as given.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The user's row.
    pub user: User,
    /// The password's hash as a PHC string; `None` for a user who cannot sign in by password yet.
    pub password_hash: Option<SecretString>,
}

columns! {
    User reads and writes users {
        id, email, username, first_name, last_name, avatar, role, is_active, email_verified_at, last_login_at,
        created_at, updated_at,
    }
}

impl Insert for NewUser {
    const TABLE: &'static str = "users";

    fn columns(&self) -> Vec<(&'static str, Value)> {
        let mut columns = self.user.columns();
        columns.push(("password_hash", self.password_hash.to_value()));
        columns.extend([("epoch", 1_i64.to_value()), ("token_epoch", 1_i64.to_value())]);
        columns
    }
}

impl Tx {
    /// Inserts a user. Fails with `Conflict("users_email")` or `Conflict("users_username")` when the address or the
    /// username is taken.
    pub async fn insert_user(&mut self, new: &NewUser) -> Result<(), StoreError> {
        self.insert(new).await
    }

    /// Inserts a user who registered without an administrator. [`Store::prune_unconfirmed_users`](crate::Store) may delete
    /// the row while the address is not confirmed and the user has not signed in. Fails like
    /// [`insert_user`](Self::insert_user).
    pub async fn insert_registered_user(&mut self, new: &NewUser) -> Result<(), StoreError> {
        let mut columns = new.columns();
        columns.push(("unconfirmed_registration", true.to_value()));
        let (sql, values) = Sql::insert_row(NewUser::TABLE, columns, "");
        self.execute(&sql, values).await.map(|_| ())
    }
}
