//! Taking an account back: what others may have left on it goes (SR-51).

use portcullis_model::{ProfileName, User};
use portcullis_storage::Tx;

use crate::error::IdentityError;

/// Why a waiting mail is not sent, in the outbox: its user took the account back, so that what it is about has ended.
pub(crate) const TAKEN_BACK: &str = "the account was taken back before the mail was sent";

/// Replaces the names of a user whose address is about to be confirmed for the first time by a reset or a recovery: a
/// stranger may have registered the address, and the names would stand on the account as if its owner had chosen them.
pub(crate) async fn replace_names_of_stranger(tx: &mut Tx, user: &User) -> Result<(), IdentityError> {
    if user.is_email_verified() {
        return Ok(());
    }
    Ok(tx.replace_unconfirmed_names(user.id, &ProfileName::of_address(&user.email)).await?)
}
