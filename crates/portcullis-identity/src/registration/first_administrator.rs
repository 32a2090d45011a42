//! The first administrator of an installation, made by a printed one-time link (SR-45).

use std::time::Duration;

use portcullis_model::{Role, SecretString, UserId};
use portcullis_storage::{NewUser, TokenPurpose};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::one_time_token::{Redeemed, redeem};
use crate::registration::{Registered, Registration, first_session};
use crate::session_issuer::{FIRST_EPOCH, TokenSubject};
use crate::throttle;
use crate::user_fields::RegisterInput;

/// Lifetime of the first administrator's link.
const LINK_LIFETIME: Duration = Duration::from_secs(30 * 60);

impl Registration {
    /// A one-time token for the setup page; `None` while there is an active administrator.
    pub async fn first_administrator_token(&self) -> Result<Option<SecretString>, IdentityError> {
        if self.store.count_active_admins().await? > 0 {
            return Ok(None);
        }
        let mut tx = self.store.begin().await?;
        let token = self.tokens.mint(&mut tx, TokenPurpose::FirstAdmin, None, LINK_LIFETIME).await?;
        tx.commit().await?;
        Ok(Some(token))
    }

    /// Redeems the token and creates the administrator. The transaction that creates one checks that there is none.
    pub async fn claim_first_administrator(
        &self,
        token: &str,
        input: RegisterInput,
        caller: &Caller,
    ) -> Result<Registered, IdentityError> {
        let checked = input.check(&self.policy)?;
        // The transaction below checks this again. Here it keeps strangers from causing hashes.
        if self.store.count_active_admins().await? > 0 {
            return self.refuse_setup(caller).await;
        }
        let password_hash =
            self.hasher.hash(caller.hashing_party(None), SecretString::new(checked.password.expose())).await?;
        let now = self.clock.now();
        let id = UserId::new(&self.clock, &self.random);
        let user = checked.profile.into_user(id, Role::Admin, Some(now), now);
        let (session, refresh) = self.issuer.start(first_session(&user, caller), now);
        let mut tx = self.store.begin().await?;
        let is_first = tx.count_active_admins().await? == 0;
        if !is_first || redeem(&mut tx, token, TokenPurpose::FirstAdmin, now).await? == Redeemed::Invalid {
            drop(tx);
            return self.refuse_setup(caller).await;
        }
        tx.insert_user(&NewUser { user: user.clone(), password_hash: Some(password_hash) }).await?;
        tx.insert_session(&session).await?;
        let subjects = throttle::subjects(user.email.as_str(), caller.ip);
        throttle::remember_client(&mut tx, user.id, &subjects, now).await?;
        tx.append_audit(&caller.success("setup.first_administrator", now, user.id, Some(session.id))).await?;
        tx.commit().await?;
        let subject = TokenSubject { user: &user, session: session.id, epoch: FIRST_EPOCH, amr: &session.amr };
        let tokens = self.issuer.tokens(&subject, refresh);
        Ok(Registered { user, tokens: Some(tokens), requires_email_verification: false })
    }

    async fn refuse_setup(&self, caller: &Caller) -> Result<Registered, IdentityError> {
        let event = caller.failure("setup.first_administrator", self.clock.now(), None, "no such link");
        self.store.append_audit(&event).await?;
        Err(IdentityError::SetupUnavailable)
    }
}
