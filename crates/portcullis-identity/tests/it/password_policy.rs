//! The policy holds wherever a password is set (SR-04).

use portcullis_identity::{
    Actor, ChangePasswordInput, IdentityError, Invitation, NewAccount, RegisterInput, ResetPasswordInput,
};
use portcullis_model::{Role, SecretString};

use crate::test_identity::{PASSWORD, TestIdentity, caller, registration_form, test_identity};

/// One of the commonest, one that is the user's own name, and one that is too short.
const BAD: [&str; 3] = ["qwertyuiop", "adaLovelace", "short"];

fn refused<T: std::fmt::Debug>(result: Result<T, IdentityError>, what: &str) {
    match result {
        Err(IdentityError::Validation(problems)) => {
            assert!(problems.len() == 1 && problems[0].starts_with("Password "), "{what}: {problems:?}");
        }
        other => panic!("{what}: {other:?}"),
    }
}

fn with(name: &str, password: &str) -> RegisterInput {
    let password = SecretString::new(password);
    RegisterInput { password: password.clone(), confirm_password: password, ..registration_form(name) }
}

async fn reset(test: &TestIdentity, token: &str, new: &str) -> Result<(), IdentityError> {
    let (token, new) = (SecretString::new(token), SecretString::new(new));
    let input = ResetPasswordInput { token, confirm: new.clone(), new };
    test.identity.passwords.reset(&input, &caller()).await
}

#[tokio::test]
async fn sr_04_registering_changing_and_resetting_hold_to_the_policy() {
    let test = test_identity().await;
    let tokens = test.register("ada").await.tokens.expect("signed in");
    test.mails().await;
    let session = test.session(&tokens.access).await.expect("live");
    test.identity.passwords.forgot("ada@example.com", &caller()).await.expect("asked");
    let token = test.mailed_token("reset_password").await;
    let hashes = test.identity.password_hasher.hashes();
    for bad in BAD {
        refused(test.identity.registration.register(with("other", bad), &caller()).await, "register");
        let new = SecretString::new(bad);
        let change = ChangePasswordInput { current: SecretString::new(PASSWORD), confirm: new.clone(), new };
        refused(test.identity.passwords.change(&session, &change, &caller()).await, "change");
        refused(reset(&test, &token, bad).await, "reset");
    }
    assert_eq!(test.identity.password_hasher.hashes(), hashes, "hashed what is refused");
}

#[tokio::test]
async fn sr_04_invited_people_and_administrators_hold_to_the_policy() {
    let test = test_identity().await;
    let invitation = Invitation {
        email: "lovelace@example.com".to_owned(),
        username: "enchantress".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        role: Role::Manager,
    };
    test.identity.administration.invite(&invitation, &Actor::Shell, &caller(), None).await.expect("invited");
    let token = test.mailed_token("invitation").await;
    let setup = test.identity.registration.first_administrator_token().await.expect("storage").expect("none yet");
    for bad in BAD {
        refused(reset(&test, &token, bad).await, "invitation");
        let claim =
            test.identity.registration.claim_first_administrator(setup.expose(), with("root", bad), &caller()).await;
        refused(claim, "first administrator");
        let RegisterInput { email, username, first_name, last_name, password, .. } = with("shell", bad);
        let (email_verified, role) = (true, Role::Admin);
        let account = NewAccount { email, email_verified, username, first_name, last_name, role, password };
        refused(test.identity.administration.create(account, &caller()).await, "users create");
        let recovery = SecretString::new(bad);
        let recovered =
            test.identity.administration.recover_administrator("lovelace@example.com", &recovery, &caller()).await;
        refused(recovered, "users recover-admin");
    }
}
