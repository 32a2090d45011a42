//! Invited accounts: no password until their owner sets one by the mailed link.

use portcullis_identity::{Actor, IdentityError, IdentityOptions, Invitation, RegistrationMode, RegistrationOptions};
use portcullis_model::{Role, UserId};

use crate::house::{DAY, House, PASSWORD, caller, house_with, options, person};
use crate::reset_password::reset;

const FIRST: &str = "the first secret of mine";

async fn by_invitation_only() -> House {
    let registration =
        RegistrationOptions { mode: RegistrationMode::Invite, require_verified_email: true, reveal_existing: true };
    house_with(IdentityOptions { registration, ..options() }).await
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

async fn invite(house: &House, name: &str) -> Result<UserId, IdentityError> {
    let done = house.identity.administration.invite(&invitation(name), &Actor::Shell, &caller(), None).await?;
    Ok(done.fresh().expect("there is no key to have been used before").id)
}

#[tokio::test]
async fn sr_17_an_invited_person_sets_the_first_password_themselves_and_once() {
    let house = by_invitation_only().await;
    let register = house.identity.registration.register(person("ada"), &caller()).await;
    assert!(matches!(register, Err(IdentityError::RegistrationClosed)), "{register:?}");
    invite(&house, "grace").await.expect("invited");
    for guess in ["", PASSWORD] {
        let result = house.login("grace@example.com", guess).await;
        assert!(matches!(result, Err(IdentityError::InvalidCredentials)), "{result:?}");
    }
    let token = house.mailed_token("invitation").await;
    house.clock.advance(6 * DAY);
    reset(&house, &token, FIRST).await.expect("accepted");
    let sign_in = house.login("grace@example.com", FIRST).await.expect("the address is confirmed by the link");
    assert_eq!(sign_in.user.role, Role::Tester);
    let again = reset(&house, &token, "another secret of mine").await;
    assert!(matches!(again, Err(IdentityError::InvalidResetToken)), "{again:?}");
    assert!(house.mails().await.0.is_empty(), "nobody's password was changed");
    let events = house.audit().await;
    for action in ["user.invite", "auth.accept_invitation"] {
        assert!(events.contains(&(action.to_owned(), "success".to_owned())), "{events:?}");
    }
}

#[tokio::test]
async fn sr_12_an_invitation_expires_after_a_week_and_a_reset_takes_its_place() {
    let house = by_invitation_only().await;
    invite(&house, "grace").await.expect("invited");
    let token = house.mailed_token("invitation").await;
    house.clock.advance(7 * DAY + std::time::Duration::from_secs(1));
    let late = reset(&house, &token, FIRST).await;
    assert!(matches!(late, Err(IdentityError::InvalidResetToken)), "{late:?}");
    house.identity.passwords.forgot("grace@example.com", &caller()).await.expect("asked");
    let link = house.mailed_token("reset_password").await;
    reset(&house, &link, FIRST).await.expect("reset");
    house.login("grace@example.com", FIRST).await.expect("signed in");
}

#[tokio::test]
async fn a_password_set_by_a_reset_ends_the_invitation() {
    let house = by_invitation_only().await;
    invite(&house, "grace").await.expect("invited");
    let invitation = house.mailed_token("invitation").await;
    house.identity.passwords.forgot("grace@example.com", &caller()).await.expect("asked");
    let link = house.mailed_token("reset_password").await;
    reset(&house, &link, FIRST).await.expect("reset");
    let late = reset(&house, &invitation, "another secret of mine").await;
    assert!(matches!(late, Err(IdentityError::InvalidResetToken)), "{late:?}");
}

#[tokio::test]
async fn an_invitation_is_checked_like_a_registration() {
    let house = by_invitation_only().await;
    invite(&house, "grace").await.expect("invited");
    assert!(matches!(invite(&house, "grace").await, Err(IdentityError::UserExists)));
    let wrong = Invitation { email: "x".to_owned(), first_name: String::new(), ..invitation("other") };
    match house.identity.administration.invite(&wrong, &Actor::Shell, &caller(), None).await {
        Err(IdentityError::Validation(problems)) => assert_eq!(problems.len(), 2, "{problems:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(house.mails().await.0, ["invitation"]);
}
