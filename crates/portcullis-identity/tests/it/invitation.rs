//! Invited accounts: no password until their owner sets one by the mailed link.

use portcullis_identity::{Actor, IdentityError, IdentityOptions, Invitation, RegistrationMode, RegistrationOptions};
use portcullis_model::{Role, UserId};

use crate::reset_password::reset;
use crate::test_identity::{DAY, PASSWORD, TestIdentity, caller, options, registration_form, test_identity_with};

const FIRST: &str = "the first secret of mine";

async fn by_invitation_only() -> TestIdentity {
    let registration =
        RegistrationOptions { mode: RegistrationMode::Invite, require_verified_email: true, reveal_existing: true };
    test_identity_with(IdentityOptions { registration, ..options() }).await
}

fn invitation(name: &str) -> Invitation {
    Invitation {
        email: format!("{name}@example.com"),
        username: name.to_owned(),
        first_name: "Grace".to_owned(),
        last_name: "Hopper".to_owned(),
        role: Role::Tester,
    }
}

async fn invite(test: &TestIdentity, name: &str) -> Result<UserId, IdentityError> {
    let done = test.identity.administration.invite(&invitation(name), &Actor::Shell, &caller(), None).await?;
    Ok(done.fresh().expect("there is no key to have been used before").id)
}

#[tokio::test]
async fn sr_17_an_invited_user_sets_the_first_password_once() {
    let test = by_invitation_only().await;
    let register = test.identity.registration.register(registration_form("ada"), &caller()).await;
    assert!(matches!(register, Err(IdentityError::RegistrationClosed)), "{register:?}");
    invite(&test, "grace").await.expect("invited");
    for guess in ["", PASSWORD] {
        let result = test.login("grace@example.com", guess).await;
        assert!(matches!(result, Err(IdentityError::InvalidCredentials)), "{result:?}");
    }
    let token = test.mailed_token("invitation").await;
    test.clock.advance(6 * DAY);
    reset(&test, &token, FIRST).await.expect("accepted");
    let sign_in = test.login("grace@example.com", FIRST).await.expect("the address is confirmed by the link");
    assert_eq!(sign_in.user.role, Role::Tester);
    let again = reset(&test, &token, "another secret of mine").await;
    assert!(matches!(again, Err(IdentityError::InvalidResetToken)), "{again:?}");
    assert!(test.mails().await.0.is_empty(), "nobody's password was changed");
    let events = test.audit().await;
    for action in ["user.invite", "auth.accept_invitation"] {
        assert!(events.contains(&(action.to_owned(), "success".to_owned())), "{events:?}");
    }
}

#[tokio::test]
async fn sr_12_a_reset_replaces_an_expired_invitation() {
    let test = by_invitation_only().await;
    invite(&test, "grace").await.expect("invited");
    let token = test.mailed_token("invitation").await;
    test.clock.advance(7 * DAY + std::time::Duration::from_secs(1));
    let late = reset(&test, &token, FIRST).await;
    assert!(matches!(late, Err(IdentityError::InvalidResetToken)), "{late:?}");
    test.identity.passwords.forgot("grace@example.com", &caller()).await.expect("asked");
    let link = test.mailed_token("reset_password").await;
    reset(&test, &link, FIRST).await.expect("reset");
    test.login("grace@example.com", FIRST).await.expect("signed in");
}

#[tokio::test]
async fn a_password_set_by_a_reset_ends_the_invitation() {
    let test = by_invitation_only().await;
    invite(&test, "grace").await.expect("invited");
    let invitation = test.mailed_token("invitation").await;
    test.identity.passwords.forgot("grace@example.com", &caller()).await.expect("asked");
    let link = test.mailed_token("reset_password").await;
    reset(&test, &link, FIRST).await.expect("reset");
    let late = reset(&test, &invitation, "another secret of mine").await;
    assert!(matches!(late, Err(IdentityError::InvalidResetToken)), "{late:?}");
}

#[tokio::test]
async fn an_invitation_is_checked_like_a_registration() {
    let test = by_invitation_only().await;
    invite(&test, "grace").await.expect("invited");
    assert!(matches!(invite(&test, "grace").await, Err(IdentityError::UserExists | IdentityError::UsernameTaken)));
    let wrong = Invitation { email: "x".to_owned(), first_name: String::new(), ..invitation("other") };
    match test.identity.administration.invite(&wrong, &Actor::Shell, &caller(), None).await {
        Err(IdentityError::Validation(problems)) => assert_eq!(problems.len(), 2, "{problems:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(test.mails().await.0, ["invitation"]);
}
