//! What operators ask of identity: who somebody is, and to be written down.

use std::sync::Arc;

use portcullis_model::{Email, SessionId, SessionState, UserId};
use portcullis_storage::{AuditEvent, Credentials};
use serde_json::Value;

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::identity::Identity;

impl Identity {
    /// What a session of somebody would be who signed in this moment, by id or e-mail address. It is kept nowhere and
    /// opens nothing; `explain` judges by it. `None` when there is no such account, or it may not sign in.
    pub async fn stand_in(&self, person: &str) -> Result<Option<SessionState>, IdentityError> {
        let Some(known) = self.named(person).await?.filter(|known| known.user.is_active) else { return Ok(None) };
        let Credentials { user, extra_permissions, epoch, token_epoch, .. } = known;
        let mut permissions = (**self.roles().of(user.role)).clone();
        permissions.extend(extra_permissions);
        Ok(Some(SessionState {
            id: SessionId::new(&self.clock, &self.random),
            user_id: user.id,
            role: user.role,
            permissions: Arc::new(permissions),
            email_verified: user.is_email_verified(),
            email: user.email,
            amr: Arc::from(["pwd".to_owned()]),
            authenticated_at: self.clock.unix_seconds(),
            session_epoch: 1,
            user_epoch: epoch,
            token_epoch,
            expires_at: i64::MAX,
            demo: false,
            api_key: None,
            last_seen: 0.into(),
        }))
    }

    /// Whose account has this id or e-mail address.
    pub async fn id_of(&self, person: &str) -> Result<Option<UserId>, IdentityError> {
        Ok(self.named(person).await?.map(|known| known.user.id))
    }

    async fn named(&self, person: &str) -> Result<Option<Credentials>, IdentityError> {
        if let Ok(id) = person.parse::<UserId>() {
            return Ok(self.store.credentials_by_id(id).await?);
        }
        match Email::parse(person) {
            Ok(email) => Ok(self.store.credentials_by_email(&email).await?),
            Err(_) => Ok(None),
        }
    }

    /// Writes down what an operator did to the gateway itself.
    pub async fn note_operation(
        &self,
        action: &'static str,
        by: Option<UserId>,
        details: Value,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        let event = AuditEvent { actor_id: by, ..caller.bulk_event(action, self.clock.now(), details) };
        Ok(self.store.append_audit(&event).await?)
    }
}
