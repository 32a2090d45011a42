//! Stored hashes of another cost, and accounts without a usable one (requirements 7 and 10).

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use portcullis_identity::{ChangePasswordInput, IdentityError};
use portcullis_model::{Email, SecretString, UserId};
use portcullis_storage::NewUser;

use crate::house::{House, PASSWORD, caller, house};

const SALT: &[u8; 16] = b"0123456789abcdef";

/// The password's PHC string as a cheaper setting would have stored it.
fn cheap_hash() -> SecretString {
    let params = Params::new(8192, 1, 1, Some(32)).expect("within argon2's limits");
    let mut hash = [0u8; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(PASSWORD.as_bytes(), SALT, &mut hash)
        .expect("hashed");
    let encode = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    SecretString::new(format!("$argon2id$v=19$m=8192,t=1,p=1${}${}", encode(SALT), encode(&hash)))
}

async fn set_hash(house: &House, user: UserId, hash: &str) {
    let old = house.store.credentials_by_id(user).await.expect("read").expect("known").password_hash;
    let mut tx = house.store.begin().await.expect("tx");
    let (new, now) = (SecretString::new(hash), house.clock.now());
    assert!(tx.set_password_hash(user, old.as_ref(), &new, now).await.expect("set"));
    tx.commit().await.expect("committed");
}

async fn stored_hash(house: &House) -> String {
    let email = Email::parse("ada@example.com").expect("valid");
    let known = house.store.credentials_by_email(&email).await.expect("read").expect("known");
    known.password_hash.expect("a password").expose().to_owned()
}

#[tokio::test]
async fn sr_07_a_login_replaces_a_hash_of_another_cost_and_leaves_one_of_todays_alone() {
    let house = house().await;
    let user = house.register("ada").await.user.id;
    set_hash(&house, user, cheap_hash().expose()).await;
    house.login("ada@example.com", "a wrong password").await.expect_err("wrong");
    assert_eq!(stored_hash(&house).await, cheap_hash().expose(), "a wrong password replaced the hash");
    house.login("ada@example.com", PASSWORD).await.expect("signed in");
    let replaced = stored_hash(&house).await;
    assert!(replaced.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{replaced}");
    let hashes = house.identity.password_hasher.hashes();
    house.login("ada@example.com", PASSWORD).await.expect("signed in with the replaced hash");
    assert_eq!(house.identity.password_hasher.hashes() - hashes, 1, "hashed again without need");
    assert_eq!(stored_hash(&house).await, replaced);
}

#[tokio::test]
async fn sr_07_a_login_with_a_hash_brought_from_elsewhere_replaces_it_by_one_of_ours() {
    let house = house().await;
    let user = house.register("ada").await.user.id;
    for brought in [
        "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
        "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$7AnzIswxwEinpwz+ntydndYfVHPvOACmX9Vvo8hO1qM",
        "pbkdf2_sha256$1000$seasalt1234$JlBQ/OWmu3PcCFg2koQd315wDykzd702rqDsH8M7iWI=",
    ] {
        set_hash(&house, user, brought).await;
        house.login("ada@example.com", "a wrong password").await.expect_err("wrong");
        assert_eq!(stored_hash(&house).await, brought, "a wrong password replaced the hash");
        house.login("ada@example.com", PASSWORD).await.expect(brought);
        assert!(stored_hash(&house).await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{brought}");
        house.login("ada@example.com", PASSWORD).await.expect("signed in with the replaced hash");
    }
}

/// The login hashes the password anew, which takes until after the change: the
/// old password was right when it was compared, and is no more when the session
/// would begin.
#[tokio::test]
async fn sr_22_a_login_that_compared_the_old_password_begins_no_session_after_the_change() {
    let house = house().await;
    let registered = house.register("ada").await;
    let tokens = registered.tokens.expect("signed in");
    set_hash(&house, registered.user.id, cheap_hash().expose()).await;
    let session = house.session(&tokens.access).await.expect("live");
    let new = SecretString::new("a quite different secret");
    let change = ChangePasswordInput { current: SecretString::new(PASSWORD), confirm: new.clone(), new };
    let caller = caller();
    let (changed, login) = tokio::join!(
        house.identity.passwords.change(&session, &change, &caller),
        house.login("ada@example.com", PASSWORD)
    );
    changed.expect("changed");
    if let Ok(sign_in) = login {
        assert!(house.session(&sign_in.tokens.access).await.is_none(), "it outlived the change");
    }
    house
        .login("ada@example.com", "a quite different secret")
        .await
        .expect("the rehash of the old one came to nothing");
}

/// Of a password longer than 72 bytes bcrypt cannot say whether its end is
/// right: hashed anew, a slip of the pen would become the password.
#[tokio::test]
async fn a_password_longer_than_bcrypt_sees_keeps_its_hash() {
    let house = house().await;
    let user = house.register("ada").await.user.id;
    let brought = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
    let seen = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    set_hash(&house, user, brought).await;
    house.login("ada@example.com", &format!("{seen} and more")).await.expect("signed in");
    assert_eq!(stored_hash(&house).await, brought);
    house.login("ada@example.com", seen).await.expect("signed in");
    assert_ne!(stored_hash(&house).await, brought, "seen whole, it is hashed anew");
}

#[tokio::test]
async fn sr_10_a_passwordless_account_and_an_unreadable_hash_cost_what_a_wrong_password_does() {
    let house = house().await;
    let passwordless = house.register("guest").await.user;
    let unreadable = house.register("import").await.user;
    house.register("ada").await;
    let mut tx = house.store.begin().await.expect("tx");
    let mut user = passwordless;
    user.id = UserId::new(&house.clock, &portcullis_model::Random::system());
    user.email = Email::parse("invited@example.com").expect("valid");
    user.username = portcullis_model::Username::parse("invited").expect("valid");
    tx.insert_user(&NewUser { user, password_hash: None }).await.expect("inserted");
    tx.commit().await.expect("committed");
    set_hash(&house, unreadable.id, "$2b$12$not.a.hash.that.this.room.reads").await;
    let mut costs = Vec::new();
    for email in ["ada@example.com", "invited@example.com", "import@example.com", "nobody@example.com"] {
        let (statements, hashes) = (house.metrics.database_statements(), house.identity.password_hasher.hashes());
        let result = house.login(email, "a wrong password").await;
        assert!(matches!(result, Err(IdentityError::InvalidCredentials)), "{email}: {result:?}");
        costs
            .push((house.metrics.database_statements() - statements, house.identity.password_hasher.hashes() - hashes));
    }
    assert!(costs.iter().all(|cost| *cost == costs[0] && cost.1 == 1), "{costs:?}");
}
