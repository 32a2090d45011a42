//! Nobody takes the threads that hash passwords from others (SR-57).

use portcullis_identity::{ChangePasswordInput, HashingOptions, IdentityError, IdentityOptions};
use portcullis_model::SecretString;

use crate::test_identity::{PASSWORD, caller, options, test_identity_with};

#[tokio::test]
async fn sr_57_one_account_cannot_stop_the_sign_ins_of_others() {
    let hashing = HashingOptions { threads: 1, queue: 4 };
    let test = test_identity_with(IdentityOptions { hashing, throttle: false, ..options() }).await;
    test.register("ada").await;
    test.register("ben").await;
    let session = test.signed_in("ada").await;
    let guess = || async {
        let input = ChangePasswordInput {
            current: SecretString::new("a guess"),
            new: SecretString::new("a quite different secret"),
            confirm: SecretString::new("a quite different secret"),
        };
        test.identity.passwords.change(&session, &input, &caller()).await
    };
    let flood = futures_util::future::join_all((0..20).map(|_| guess()));
    let other = async {
        // Until the flood has filled its share.
        while test.identity.password_hasher.waiting() < 3 {
            tokio::task::yield_now().await;
        }
        test.login_at("ben@example.com", PASSWORD, "198.51.100.7").await
    };
    let (flood, other) = futures_util::future::join(flood, other).await;
    assert!(other.is_ok(), "{other:?}");
    assert!(flood.iter().any(|outcome| matches!(outcome, Err(IdentityError::ShareUsedUp))), "{flood:?}");
}
