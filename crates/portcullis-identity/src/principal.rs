//! The principal of a use case, read again in the transaction that writes something lasting on its behalf (SR-59).

use portcullis_model::{ApiKeyScopes, PermissionSet, RolePermissions, SessionState};
use portcullis_storage::{Credentials, Tx};

use crate::error::IdentityError;

/// Returns the caller's user as they are now. Refuses a session or an API key that has ended since the gate let it
/// through, and an API key whose owner has not confirmed the e-mail address (SR-51). What is read holds until the
/// transaction ends.
pub(crate) async fn read_again(tx: &mut Tx, session: &SessionState) -> Result<Credentials, IdentityError> {
    let known = tx.principal(session).await?.ok_or(IdentityError::SessionEnded)?;
    if !session.is_signed_in() && !known.user.is_email_verified() {
        return Err(IdentityError::KeyNeedsVerifiedEmail);
    }
    Ok(known)
}

/// Returns the permissions that the caller has as this user: those of the role and the user's own, within the scopes of
/// an API key.
pub(crate) fn permissions(session: &SessionState, known: &Credentials, roles: &RolePermissions) -> PermissionSet {
    let of_user = roles.of(known.user.role).union(&known.extra_permissions);
    match &session.api_key {
        Some(ApiKeyScopes::Only(scopes)) => of_user.filter(|held| scopes.contains(held)).cloned().collect(),
        Some(ApiKeyScopes::All) | None => of_user.cloned().collect(),
    }
}
