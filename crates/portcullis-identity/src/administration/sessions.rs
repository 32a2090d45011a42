//! The sessions of other users (SR-23).

use portcullis_model::{Permission, SessionId, UserId};
use portcullis_storage::EndReason;
use serde_json::json;

use crate::administration::{Actor, Administration};
use crate::audit::Caller;
use crate::error::IdentityError;
use crate::sessions::SessionDetails;

impl Administration {
    /// The live sessions of a user, latest use first. They show addresses and devices, so that listing them needs what
    /// ending them needs (SR-61).
    pub async fn sessions_of(&self, actor: &Actor, id: UserId) -> Result<Vec<SessionDetails>, IdentityError> {
        let target = self.store.user_by_id(id).await?.ok_or(IdentityError::NotFound)?;
        actor.outranks(&target)?;
        let records = self.store.list_sessions(id, self.clock.now()).await?;
        Ok(records.into_iter().map(SessionDetails::from).collect())
    }

    /// Ends one session of a user, or all of them.
    pub async fn end_sessions_of(
        &self,
        actor: &Actor,
        id: UserId,
        session: Option<SessionId>,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let authority = self.authority(&mut tx, actor, Permission::USER_EDIT).await?;
        let known = self.known(&mut tx, id).await?.user;
        authority.outranks(&known)?;
        let reason = EndReason::EndedByAdministrator;
        match session {
            Some(session) if !tx.end_session_of(id, session, reason, now).await? => {
                return Err(IdentityError::NotFound);
            }
            Some(_) => {}
            None => _ = tx.end_sessions_of(id, None, reason, now).await?,
        }
        let details = session.map(|session| json!({ "session": session }));
        tx.append_audit(&authority.event(caller, "user.end_sessions", id, now, details)).await?;
        tx.commit().await?;
        Ok(())
    }
}
