//! Mails that anybody may request by an address: a password reset, another verification link.
//!
//! The response and the work are the same whether a user has the address or not (SR-10).

use std::time::Duration;

use portcullis_model::mail::MailKind;
use portcullis_model::{Clock, Email, InvalidInput};
use portcullis_storage::{AuditEvent, MailRequest, Outcome, Store};

use crate::audit::Caller;
use crate::error::IdentityError;

/// The most mails of one kind to one user within [`WINDOW`].
const MOST_MAILS: u64 = 5;
/// The time within which mails are counted.
const WINDOW: Duration = Duration::from_secs(3600);

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
        let request = MailRequest {
            template: kind.as_str(),
            email: &email,
            only_unverified: recipients == Recipients::Unverified,
            most: MOST_MAILS,
            within: WINDOW,
            at,
        };
        let mut tx = self.store.begin().await?;
        // The caller has not proved who they are: the user is the subject of the event, not its actor.
        let event = match tx.request_mail(&request).await? {
            Some(user) => AuditEvent { subject_id: Some(user), ..caller.event(action, Outcome::Success, at) },
            None => caller.failure(action, at, None, "no account to mail, or enough mails"),
        };
        tx.append_audit(&event).await?;
        tx.commit().await?;
        Ok(())
    }
}
