//! Mails that anybody may request by an address: a password reset, another verification link.
//!
//! The response and the work are the same whether a user has the address or not (SR-10).

use portcullis_model::mail::MailKind;
use portcullis_model::{Clock, Email, InvalidInput};
use portcullis_storage::{AuditEvent, MailRequest, Outcome, Store};

use crate::audit::Caller;
use crate::error::IdentityError;

/// Queues mails that are requested by address.
#[derive(Clone)]
pub(crate) struct MailRequests {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

/// Which users get a requested mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipients {
    /// Every active user.
    Active,
    /// Active users whose address is not verified.
    Unverified,
}

impl MailRequests {
    /// Queues a mail if a user among the recipients has this address and has not had too many of them.
    pub(crate) async fn request(
        &self,
        action: &'static str,
        kind: MailKind,
        email: &str,
        recipients: Recipients,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        // Refusing a text that is no address tells nothing about users.
        let email = Email::parse(email).map_err(|InvalidInput(problem)| IdentityError::Validation(vec![problem]))?;
        let at = self.clock.now();
        let request = MailRequest { kind, email: &email, only_unverified: recipients == Recipients::Unverified, at };
        let mut tx = self.store.begin().await?;
        // The caller has not proved who they are: the user is the subject of the event, not its actor.
        if let Some(user) = tx.request_mail(&request).await? {
            let event = AuditEvent { subject_id: Some(user), ..caller.event(action, Outcome::Success, at) };
            tx.append_audit(&event).await?;
            tx.commit().await?;
        } else {
            // Outside of the transaction, so that no other request waits for the line with a connection in its hand.
            tx.commit().await?;
            self.store.append_audit(&caller.failure(action, at, None, "no account to mail, or enough mails")).await?;
        }
        Ok(())
    }
}
