use portcullis_model::{Email, ProfileName, Role, SecretString, UserId};
use portcullis_storage::{ProfileChange, StoreError, UserFilter};
use tokio::task::JoinSet;

use crate::bed::{Bed, Ear, seconds};

async fn a_user_comes_back_as_it_was_stored(bed: Bed) {
    let store = bed.store().await;
    let mut new = bed.person("ada");
    new.user.avatar = Some("/avatars/ada.png".to_owned());
    new.user.first_name = ProfileName::parse("First name", "Ádá 🦉").expect("valid");
    new.user.email_verified_at = Some(bed.clock.now());
    new.user.last_login_at = Some(bed.clock.now());
    let mut tx = store.begin().await.expect("begins");
    tx.insert_user(&new).await.expect("is new");
    assert_eq!(tx.user_by_id(new.user.id).await.expect("reads").as_ref(), Some(&new.user));
    tx.commit().await.expect("commits");

    assert_eq!(store.user_by_id(new.user.id).await.expect("reads").as_ref(), Some(&new.user));
    let found = store.credentials_by_email(&new.user.email).await.expect("reads").expect("exists");
    assert_eq!(found.user, new.user);
    assert_eq!(found.password_hash.expect("has one").expose(), "$argon2id$stand-in");
    assert_eq!((found.epoch, found.token_epoch), (1, 1));
    assert!(found.extra_permissions.is_empty());
    assert!(store.credentials_by_id(new.user.id).await.expect("reads").is_some());
}

async fn who_is_unknown_is_none(bed: Bed) {
    let store = bed.store().await;
    let nobody = UserId::new(&bed.clock, &bed.random);
    assert!(store.user_by_id(nobody).await.expect("reads").is_none());
    assert!(store.credentials_by_id(nobody).await.expect("reads").is_none());
    let email = Email::parse("nobody@example.com").expect("valid");
    assert!(store.credentials_by_email(&email).await.expect("reads").is_none());
}

async fn a_transaction_that_is_dropped_leaves_nothing(bed: Bed) {
    let store = bed.store().await;
    let new = bed.person("ada");
    let mut tx = store.begin().await.expect("begins");
    tx.insert_user(&new).await.expect("is new");
    drop(tx);
    assert!(store.user_by_id(new.user.id).await.expect("reads").is_none());
    // The connection is good for the next one.
    bed.someone(&store, "ada").await;
}

async fn a_taken_address_or_name_is_a_conflict_by_name(bed: Bed) {
    let store = bed.store().await;
    bed.someone(&store, "ada").await;
    let mut same_email = bed.person("grace");
    same_email.user.email = bed.person("ada").user.email;
    let mut tx = store.begin().await.expect("begins");
    let conflict = tx.insert_user(&same_email).await.expect_err("the address is taken");
    assert!(matches!(conflict, StoreError::Conflict("users_email")), "{conflict:?}");
    drop(tx);

    let mut same_name = bed.person("grace");
    same_name.user.username = bed.person("ada").user.username;
    let mut tx = store.begin().await.expect("begins");
    let conflict = tx.insert_user(&same_name).await.expect_err("the name is taken");
    assert!(matches!(conflict, StoreError::Conflict("users_username")), "{conflict:?}");
}

async fn of_many_who_register_one_address_at_once_one_succeeds(bed: Bed) {
    let store = bed.store().await;
    let mut races = JoinSet::new();
    for _ in 0..8 {
        let (store, new) = (store.clone(), bed.person("ada"));
        races.spawn(async move {
            let mut tx = store.begin().await?;
            tx.insert_user(&new).await?;
            tx.commit().await
        });
    }
    let outcomes = races.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.into_iter().filter_map(Result::err) {
        assert!(matches!(outcome, StoreError::Conflict(_)), "{outcome:?}");
    }
}

async fn a_login_is_noted_unless_the_account_changed_since_it_was_read(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    bed.clock.advance(seconds(5));
    let now = bed.clock.now();
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.record_login(ada.id, 1, now).await.expect("runs"));
    tx.commit().await.expect("commits");
    assert_eq!(store.user_by_id(ada.id).await.expect("reads").expect("exists").last_login_at, Some(now));

    let mut tx = store.begin().await.expect("begins");
    assert!(tx.set_active(ada.id, false, now).await.expect("runs"));
    tx.commit().await.expect("commits");
    let mut tx = store.begin().await.expect("begins");
    assert!(!tx.record_login(ada.id, 1, now).await.expect("runs"));
    assert!(!tx.record_login(ada.id, 2, now).await.expect("runs"), "an inactive account signed in");
}

async fn a_profile_changes_only_what_is_given(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    bed.clock.advance(seconds(60));
    let now = bed.clock.now();
    let change = ProfileChange { avatar: Some(Some("/a.png".to_owned())), ..ProfileChange::default() };
    let mut tx = store.begin().await.expect("begins");
    let changed = tx.update_profile(ada.id, &change, now).await.expect("runs").expect("exists");
    tx.commit().await.expect("commits");
    assert_eq!(changed.avatar.as_deref(), Some("/a.png"));
    assert_eq!((&changed.first_name, changed.updated_at), (&ada.first_name, now));

    let change = ProfileChange {
        first_name: Some(ProfileName::parse("First name", "Augusta").expect("valid")),
        last_name: None,
        avatar: Some(None),
    };
    let mut tx = store.begin().await.expect("begins");
    let changed = tx.update_profile(ada.id, &change, now).await.expect("runs").expect("exists");
    assert_eq!((changed.first_name.as_str(), changed.avatar), ("Augusta", None));
    let nobody = UserId::new(&bed.clock, &bed.random);
    assert!(tx.update_profile(nobody, &change, now).await.expect("runs").is_none());
}

async fn a_hash_is_strengthened_only_while_it_is_the_one_that_was_checked(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let (old, new) = (SecretString::new("$argon2id$stand-in"), SecretString::new("$argon2id$stronger"));
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.replace_password_hash(ada.id, &old, &new).await.expect("runs"));
    assert!(!tx.replace_password_hash(ada.id, &old, &old).await.expect("runs"));
    let changed = SecretString::new("$argon2id$changed");
    let now = bed.clock.now();
    assert!(!tx.set_password_hash(ada.id, Some(&old), &changed, now).await.expect("runs"), "it is not the old one");
    assert!(!tx.set_password_hash(ada.id, None, &changed, now).await.expect("runs"), "it has one");
    assert!(tx.set_password_hash(ada.id, Some(&new), &changed, now).await.expect("runs"));
    tx.commit().await.expect("commits");
    let stored = store.credentials_by_id(ada.id).await.expect("reads").expect("exists");
    assert_eq!(stored.password_hash.expect("has one").expose(), "$argon2id$changed");
    assert_eq!((stored.epoch, stored.token_epoch), (2, 1), "a sign-in under way must notice, sessions must not end");
}

async fn sr_35_changes_that_caches_must_see_raise_the_epoch_and_are_told(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    let ear = Ear::on(&store);
    let now = bed.clock.now();
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.set_email_verified(ada.id, now).await.expect("runs"));
    assert!(tx.set_role(ada.id, Role::Manager, now).await.expect("runs"));
    assert!(ear.heard().is_empty(), "told before the commit");
    tx.commit().await.expect("commits");
    let heard: Vec<_> = ear.heard().iter().map(|entry| (entry.session_id, entry.epoch, entry.ends)).collect();
    assert_eq!(heard, [(None, 2, false), (None, 3, false)]);
    let stored = store.credentials_by_id(ada.id).await.expect("reads").expect("exists");
    assert_eq!((stored.user.role, stored.user.email_verified_at), (Role::Manager, Some(now)));
    assert_eq!((stored.epoch, stored.token_epoch), (3, 1));
    let record = store.session_record(session.id).await.expect("reads").expect("exists");
    assert!(record.is_live(now), "a change of role ended a session");
}

async fn sr_22_a_reset_password_ends_every_session_and_confirms_the_address(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    let now = bed.clock.now();
    let new = SecretString::new("$argon2id$reset");
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.reset_password_hash(ada.id, &new, now).await.expect("runs"));
    tx.commit().await.expect("commits");
    let stored = store.credentials_by_id(ada.id).await.expect("reads").expect("exists");
    assert_eq!((stored.user.email_verified_at, stored.epoch, stored.token_epoch), (Some(now), 2, 2));
    assert_eq!(stored.password_hash.expect("has one").expose(), "$argon2id$reset");
    let record = store.session_record(session.id).await.expect("reads").expect("exists");
    assert_eq!(record.end_reason.as_deref(), Some("password_reset"));
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.set_active(ada.id, false, now).await.expect("runs"));
    assert!(!tx.reset_password_hash(ada.id, &new, now).await.expect("runs"), "the account is disabled");
    let nobody = UserId::new(&bed.clock, &bed.random);
    assert!(!tx.reset_password_hash(nobody, &new, now).await.expect("runs"));
}

async fn sr_22_disabling_an_account_ends_its_sessions_and_tokens(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    let ear = Ear::on(&store);
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.set_active(ada.id, false, bed.clock.now()).await.expect("runs"));
    tx.commit().await.expect("commits");
    let stored = store.credentials_by_id(ada.id).await.expect("reads").expect("exists");
    assert_eq!((stored.user.is_active, stored.epoch, stored.token_epoch), (false, 2, 2));
    let record = store.session_record(session.id).await.expect("reads").expect("exists");
    assert_eq!(record.end_reason.as_deref(), Some("account_disabled"));
    assert!(ear.heard().iter().any(|entry| entry.session_id.is_none() && entry.epoch == 2 && entry.ends));

    let mut tx = store.begin().await.expect("begins");
    assert!(tx.set_active(ada.id, true, bed.clock.now()).await.expect("runs"));
    tx.commit().await.expect("commits");
    let stored = store.credentials_by_id(ada.id).await.expect("reads").expect("exists");
    assert_eq!((stored.user.is_active, stored.epoch, stored.token_epoch), (true, 3, 2));
}

async fn recovering_an_administrator_gives_role_and_password_and_ends_sessions(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.signed_in(&store, ada.id).await;
    let hash = SecretString::new("$argon2id$recovered");
    let mut tx = store.begin().await.expect("begins");
    assert!(tx.recover_admin(ada.id, &hash, bed.clock.now()).await.expect("runs"));
    assert!(!tx.recover_admin(UserId::new(&bed.clock, &bed.random), &hash, bed.clock.now()).await.expect("runs"));
    tx.commit().await.expect("commits");
    let stored = store.credentials_by_id(ada.id).await.expect("reads").expect("exists");
    assert_eq!((stored.user.role, stored.user.is_active, stored.token_epoch), (Role::Admin, true, 2));
    assert_eq!(stored.password_hash.expect("has one").expose(), "$argon2id$recovered");
    let record = store.session_record(session.id).await.expect("reads").expect("exists");
    assert_eq!(record.end_reason.as_deref(), Some("account_recovered"));
    assert_eq!(store.count_active_admins().await.expect("reads"), 1);
}

async fn sr_45_of_many_who_would_be_the_first_administrator_one_is(bed: Bed) {
    let store = bed.store().await;
    let mut races = JoinSet::new();
    for n in 0..8 {
        let (store, mut new) = (store.clone(), bed.person(&format!("admin{n}")));
        new.user.role = Role::Admin;
        races.spawn(async move {
            let mut tx = store.begin().await.expect("begins");
            if tx.count_active_admins().await.expect("counts") > 0 {
                return false;
            }
            tx.insert_user(&new).await.expect("is new");
            tx.commit().await.expect("commits");
            true
        });
    }
    let first = races.join_all().await.into_iter().filter(|first| *first).count();
    assert_eq!(first, 1);
    assert_eq!(store.count_active_admins().await.expect("reads"), 1);
}

async fn lists_are_newest_first_by_page_and_filter(bed: Bed) {
    let store = bed.store().await;
    for name in ["ada", "grace", "edsger", "barbara"] {
        bed.someone(&store, name).await;
        bed.clock.advance(seconds(1));
    }
    let grace = Email::parse("grace@example.com").expect("valid");
    let grace = store.credentials_by_email(&grace).await.expect("reads").expect("exists").user;
    let mut tx = store.begin().await.expect("begins");
    tx.set_role(grace.id, Role::Admin, bed.clock.now()).await.expect("runs");
    tx.set_active(grace.id, false, bed.clock.now()).await.expect("runs");
    tx.commit().await.expect("commits");

    let names = async |filter: UserFilter, limit, offset| {
        let page = store.list_users(&filter, limit, offset).await.expect("reads");
        let names: Vec<String> = page.users.iter().map(|user| user.username.to_string()).collect();
        (names.join(" "), page.total)
    };
    assert_eq!(names(UserFilter::default(), 2, 0).await, ("barbara edsger".to_owned(), 4));
    assert_eq!(names(UserFilter::default(), 2, 2).await, ("grace ada".to_owned(), 4));
    let role = UserFilter { role: Some(Role::Admin), ..UserFilter::default() };
    assert_eq!(names(role, 10, 0).await, ("grace".to_owned(), 1));
    let active = UserFilter { is_active: Some(true), ..UserFilter::default() };
    assert_eq!(names(active, 10, 0).await.1, 3);
    let search = |text: &str| UserFilter { search: Some(text.to_owned()), ..UserFilter::default() };
    assert_eq!(names(search("AD"), 10, 0).await, ("ada".to_owned(), 1));
    assert_eq!(names(search("%"), 10, 0).await, (String::new(), 0));
    assert_eq!(names(search("_"), 10, 0).await, (String::new(), 0));
}

crate::on_both_engines!(
    a_user_comes_back_as_it_was_stored,
    who_is_unknown_is_none,
    a_transaction_that_is_dropped_leaves_nothing,
    a_taken_address_or_name_is_a_conflict_by_name,
    of_many_who_register_one_address_at_once_one_succeeds,
    a_login_is_noted_unless_the_account_changed_since_it_was_read,
    a_profile_changes_only_what_is_given,
    a_hash_is_strengthened_only_while_it_is_the_one_that_was_checked,
    sr_35_changes_that_caches_must_see_raise_the_epoch_and_are_told,
    sr_22_a_reset_password_ends_every_session_and_confirms_the_address,
    sr_22_disabling_an_account_ends_its_sessions_and_tokens,
    recovering_an_administrator_gives_role_and_password_and_ends_sessions,
    sr_45_of_many_who_would_be_the_first_administrator_one_is,
    lists_are_newest_first_by_page_and_filter,
);
