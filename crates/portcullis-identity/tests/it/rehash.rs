//! Stored hashes of another cost, and accounts without a usable one (requirements 7 and 10).

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use portcullis_identity::{ChangePasswordInput, IdentityError};
use portcullis_model::{Email, SecretString, UserId};
use portcullis_storage::NewUser;

use crate::test_identity::{PASSWORD, TestIdentity, caller, test_identity};

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

async fn set_hash(test: &TestIdentity, user: UserId, hash: &str) {
    let old = test.store.credentials_by_id(user).await.expect("read").expect("known").password_hash;
    let mut tx = test.store.begin().await.expect("tx");
    let (new, now) = (SecretString::new(hash), test.clock.now());
    assert!(tx.set_password_hash(user, old.as_ref(), &new, now).await.expect("set"));
    tx.commit().await.expect("committed");
}

async fn stored_hash(test: &TestIdentity) -> String {
    let email = Email::parse("ada@example.com").expect("valid");
    let known = test.store.credentials_by_email(&email).await.expect("read").expect("known");
    known.password_hash.expect("a password").expose().to_owned()
}

#[tokio::test]
async fn sr_07_a_login_replaces_only_an_outdated_hash() {
    let test = test_identity().await;
    let user = test.register("ada").await.user.id;
    set_hash(&test, user, cheap_hash().expose()).await;
    test.login("ada@example.com", "a wrong password").await.expect_err("wrong");
    assert_eq!(stored_hash(&test).await, cheap_hash().expose(), "a wrong password replaced the hash");
    test.login("ada@example.com", PASSWORD).await.expect("signed in");
    let replaced = stored_hash(&test).await;
    assert!(replaced.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{replaced}");
    let hashes = test.identity.password_hasher.hashes();
    test.login("ada@example.com", PASSWORD).await.expect("signed in with the replaced hash");
    assert_eq!(test.identity.password_hasher.hashes() - hashes, 1, "hashed again without need");
    assert_eq!(stored_hash(&test).await, replaced);
}

#[tokio::test]
async fn sr_07_a_login_replaces_an_imported_hash() {
    let test = test_identity().await;
    let user = test.register("ada").await.user.id;
    for brought in [
        "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
        "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$7AnzIswxwEinpwz+ntydndYfVHPvOACmX9Vvo8hO1qM",
        "pbkdf2_sha256$1000$seasalt1234$JlBQ/OWmu3PcCFg2koQd315wDykzd702rqDsH8M7iWI=",
    ] {
        set_hash(&test, user, brought).await;
        test.login("ada@example.com", "a wrong password").await.expect_err("wrong");
        assert_eq!(stored_hash(&test).await, brought, "a wrong password replaced the hash");
        test.login("ada@example.com", PASSWORD).await.expect(brought);
        assert!(stored_hash(&test).await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{brought}");
        test.login("ada@example.com", PASSWORD).await.expect("signed in with the replaced hash");
    }
}

/// The login hashes the password anew, which takes until after the change: the
/// old password was right when it was compared, and is no more when the session
/// would begin.
#[tokio::test]
async fn sr_22_a_login_with_the_old_password_fails_after_a_change() {
    let test = test_identity().await;
    let registered = test.register("ada").await;
    let tokens = registered.tokens.expect("signed in");
    set_hash(&test, registered.user.id, cheap_hash().expose()).await;
    let session = test.session(&tokens.access).await.expect("live");
    let new = SecretString::new("a quite different secret");
    let change = ChangePasswordInput { current: SecretString::new(PASSWORD), confirm: new.clone(), new };
    let caller = caller();
    let (changed, login) = tokio::join!(
        test.identity.passwords.change(&session, &change, &caller),
        test.login("ada@example.com", PASSWORD)
    );
    changed.expect("changed");
    if let Ok(sign_in) = login {
        assert!(test.session(&sign_in.tokens.access).await.is_none(), "it outlived the change");
    }
    test.login("ada@example.com", "a quite different secret").await.expect("the rehash of the old one came to nothing");
}

/// Of a password longer than 72 bytes bcrypt cannot say whether its end is
/// right: hashed anew, a slip of the pen would become the password.
#[tokio::test]
async fn a_password_longer_than_bcrypt_sees_keeps_its_hash() {
    let test = test_identity().await;
    let user = test.register("ada").await.user.id;
    let brought = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
    let seen = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    set_hash(&test, user, brought).await;
    test.login("ada@example.com", &format!("{seen} and more")).await.expect("signed in");
    assert_eq!(stored_hash(&test).await, brought);
    test.login("ada@example.com", seen).await.expect("signed in");
    assert_ne!(stored_hash(&test).await, brought, "seen whole, it is hashed anew");
}

#[tokio::test]
async fn sr_10_no_hash_and_a_bad_hash_cost_what_a_wrong_one_does() {
    let test = test_identity().await;
    let passwordless = test.register("guest").await.user;
    let unreadable = test.register("import").await.user;
    test.register("ada").await;
    let mut tx = test.store.begin().await.expect("tx");
    let mut user = passwordless;
    user.id = UserId::new(&test.clock, &portcullis_model::Random::system());
    user.email = Email::parse("invited@example.com").expect("valid");
    user.username = portcullis_model::Username::parse("invited").expect("valid");
    tx.insert_user(&NewUser { user, password_hash: None }).await.expect("inserted");
    tx.commit().await.expect("committed");
    set_hash(&test, unreadable.id, "$2b$12$not.a.hash.that.this.room.reads").await;
    let mut costs = Vec::new();
    for email in ["ada@example.com", "invited@example.com", "import@example.com", "nobody@example.com"] {
        let (statements, hashes) = (test.metrics.database_statements(), test.identity.password_hasher.hashes());
        let result = test.login(email, "a wrong password").await;
        assert!(matches!(result, Err(IdentityError::InvalidCredentials)), "{email}: {result:?}");
        costs.push((test.metrics.database_statements() - statements, test.identity.password_hasher.hashes() - hashes));
    }
    assert!(costs.iter().all(|cost| *cost == costs[0] && cost.1 == 1), "{costs:?}");
}
