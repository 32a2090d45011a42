//! The policy holds wherever a password is set (requirement 4).

use portcullis_identity::{
    Actor, ChangePasswordInput, IdentityError, Invitation, NewAccount, RegisterInput, ResetPasswordInput,
};
use portcullis_model::{Role, SecretString};

use crate::house::{House, PASSWORD, caller, house, person};

/// One of the commonest, one that is the person's own name, and one that is too short.
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
    RegisterInput { password: password.clone(), confirm_password: password, ..person(name) }
}

async fn reset(house: &House, token: &str, new: &str) -> Result<(), IdentityError> {
    let (token, new) = (SecretString::new(token), SecretString::new(new));
    let input = ResetPasswordInput { token, confirm: new.clone(), new };
    house.identity.passwords.reset(&input, &caller()).await
}

#[tokio::test]
async fn sr_04_registering_changing_and_resetting_hold_to_the_policy() {
    let house = house().await;
    let tokens = house.register("ada").await.tokens.expect("signed in");
    house.mails().await;
    let session = house.session(&tokens.access).await.expect("live");
    house.identity.passwords.forgot("ada@example.com", &caller()).await.expect("asked");
    let token = house.mailed_token("reset_password").await;
    let hashes = house.identity.password_hasher.hashes();
    for bad in BAD {
        refused(house.identity.registration.register(with("other", bad), &caller()).await, "register");
        let new = SecretString::new(bad);
        let change = ChangePasswordInput { current: SecretString::new(PASSWORD), confirm: new.clone(), new };
        refused(house.identity.passwords.change(&session, &change, &caller()).await, "change");
        refused(reset(&house, &token, bad).await, "reset");
    }
    assert_eq!(house.identity.password_hasher.hashes(), hashes, "hashed what is refused");
}

#[tokio::test]
async fn sr_04_invited_people_and_administrators_hold_to_the_policy() {
    let house = house().await;
    let invitation = Invitation {
        email: "lovelace@example.com".to_owned(),
        username: "enchantress".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        role: Role::Manager,
    };
    house.identity.administration.invite(&invitation, &Actor::Shell, &caller(), None).await.expect("invited");
    let token = house.mailed_token("invitation").await;
    let setup = house.identity.registration.first_administrator_token().await.expect("storage").expect("none yet");
    for bad in BAD {
        refused(reset(&house, &token, bad).await, "invitation");
        let claim =
            house.identity.registration.claim_first_administrator(setup.expose(), with("root", bad), &caller()).await;
        refused(claim, "first administrator");
        let RegisterInput { email, username, first_name, last_name, password, .. } = with("shell", bad);
        let account = NewAccount { email, username, first_name, last_name, role: Role::Admin, password };
        refused(house.identity.administration.create(account, &caller()).await, "users create");
        let recovery = SecretString::new(bad);
        let recovered =
            house.identity.administration.recover_administrator("lovelace@example.com", &recovery, &caller()).await;
        refused(recovered, "users recover-admin");
    }
}
