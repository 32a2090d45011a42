//! The caller's own profile.

use std::sync::Arc;

use portcullis_model::{Clock, SessionState, User};
use portcullis_sessions::SessionCache;
use portcullis_storage::Store;

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::principal;
use crate::user_fields::ProfileInput;

/// Reads and changes the caller's own profile.
pub struct Users {
    pub(crate) store: Store,
    pub(crate) cache: Arc<SessionCache>,
    pub(crate) clock: Clock,
}

impl Users {
    /// The caller's profile.
    pub async fn profile(&self, session: &SessionState) -> Result<Arc<User>, IdentityError> {
        self.cache.user(session).await?.ok_or(IdentityError::NotFound)
    }

    /// Changes the caller's names and avatar.
    pub async fn update_profile(
        &self,
        session: &SessionState,
        input: ProfileInput,
        caller: &Caller,
    ) -> Result<User, IdentityError> {
        if session.is_demo() {
            return Err(IdentityError::DemoReadOnly);
        }
        let change = input.check()?;
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        principal::read_again(&mut tx, session).await?;
        let user = tx.update_profile(session.user_id, &change, now).await?.ok_or(IdentityError::NotFound)?;
        tx.append_audit(&caller.success("profile.update", now, user.id, Some(session.id))).await?;
        tx.commit().await?;
        Ok(user)
    }
}
