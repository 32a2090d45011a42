//! The outbox: mails are claimed by one worker, tried again, and requested within limits.

use portcullis_model::mail::MailKind;
use portcullis_model::{Email, UserId};
use portcullis_storage::{DueMail, MailRequest, Store};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::builders::email;
use crate::test_database::{TestDatabase, commit, days, seconds};

/// Queues a mail for a new user and returns the mail's id.
async fn queue(db: &TestDatabase, store: &Store) -> (UserId, Uuid) {
    let ada = db.user("ada").insert(store).await.id;
    assert!(commit(store, async |tx| tx.enqueue_mail(MailKind::VerifyEmail, ada, db.now()).await).await);
    let waiting = store.claim_due_mail(db.now(), seconds(0), 1).await.expect("updates");
    db.clock.advance(seconds(1));
    (ada, waiting[0].id)
}

/// Claims the due mails for a minute.
async fn claim(db: &TestDatabase, store: &Store) -> Vec<DueMail> {
    store.claim_due_mail(db.now(), seconds(60), 10).await.expect("updates")
}

/// Requests a mail by address and returns the user it goes to.
async fn request(db: &TestDatabase, store: &Store, email: &Email, only_unverified: bool) -> Option<UserId> {
    let request = MailRequest { kind: MailKind::ResetPassword, email, only_unverified, at: db.now() };
    commit(store, async |tx| tx.request_mail(&request).await).await
}

async fn a_due_mail_is_claimed_with_its_user_and_template(db: TestDatabase) {
    let store = db.store().await;
    let (ada, id) = queue(&db, &store).await;
    let claimed = claim(&db, &store).await;
    assert_eq!((claimed.len(), claimed[0].id, claimed[0].attempts), (1, id, 2));
    assert_eq!((claimed[0].template.as_str(), claimed[0].user_id), ("verify_email", ada));
}

async fn a_mail_is_claimed_by_one_of_many_workers(db: TestDatabase) {
    let store = db.store().await;
    for n in 0..10 {
        let user = db.user(&format!("user{n}")).insert(&store).await.id;
        commit(&store, async |tx| tx.enqueue_mail(MailKind::VerifyEmail, user, db.now()).await).await;
    }
    let mut races = JoinSet::new();
    for _ in 0..6 {
        let (store, now) = (store.clone(), db.now());
        races.spawn(async move { store.claim_due_mail(now, seconds(60), 4).await.expect("updates") });
    }
    let mut claimed: Vec<_> = races.join_all().await.into_iter().flatten().map(|mail| mail.id).collect();
    while let [first, rest @ ..] = claim(&db, &store).await.as_slice() {
        claimed.push(first.id);
        claimed.extend(rest.iter().map(|mail| mail.id));
    }
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), 10, "each mail is claimed, and once");
}

async fn a_claimed_mail_is_due_again_after_its_lease(db: TestDatabase) {
    let store = db.store().await;
    queue(&db, &store).await;
    claim(&db, &store).await;
    assert!(claim(&db, &store).await.is_empty());
    db.clock.advance(seconds(61));
    assert_eq!(claim(&db, &store).await[0].attempts, 3);
}

async fn a_failed_mail_is_due_again_at_its_next_attempt(db: TestDatabase) {
    let store = db.store().await;
    let (_, id) = queue(&db, &store).await;
    claim(&db, &store).await;
    store.mark_mail_failed(id, "451 try\0 later", db.now() + seconds(300)).await.expect("updates");
    db.clock.advance(seconds(299));
    assert!(claim(&db, &store).await.is_empty());
    db.clock.advance(seconds(2));
    assert_eq!(claim(&db, &store).await.len(), 1);
}

async fn a_sent_mail_is_never_due_again(db: TestDatabase) {
    let store = db.store().await;
    let (_, id) = queue(&db, &store).await;
    store.mark_mail_sent(id, db.now()).await.expect("updates");
    db.clock.advance(seconds(3600));
    assert!(claim(&db, &store).await.is_empty());
    assert_eq!(store.counted().await.expect("reads").mails_waiting, 0);
}

async fn a_mail_that_was_given_up_is_never_due_again(db: TestDatabase) {
    let store = db.store().await;
    let (_, id) = queue(&db, &store).await;
    assert_eq!(store.counted().await.expect("reads").mails_waiting, 1);
    store.give_up_mail(id, "550 no such user", db.now()).await.expect("updates");
    db.clock.advance(seconds(3600));
    assert!(claim(&db, &store).await.is_empty());
    assert_eq!(store.counted().await.expect("reads").mails_waiting, 0);
}

async fn sr_11_a_requested_mail_goes_to_the_active_user(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    let ben = db.user("ben").inactive().insert(&store).await;
    assert_eq!(request(&db, &store, &ada.email, false).await, Some(ada.id));
    assert_eq!(request(&db, &store, &ben.email, false).await, None);
    assert_eq!(request(&db, &store, &email("nobody@example.com"), false).await, None);
    assert_eq!(claim(&db, &store).await.len(), 1);
}

async fn sr_11_requested_mails_are_limited_in_time(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    for expected in [Some(ada.id), Some(ada.id), Some(ada.id), None] {
        assert_eq!(request(&db, &store, &ada.email, false).await, expected);
    }
    db.clock.advance(seconds(1801));
    assert_eq!(request(&db, &store, &ada.email, false).await, Some(ada.id));
}

async fn a_verified_address_needs_no_verification_mail(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    assert_eq!(request(&db, &store, &ada.email, true).await, Some(ada.id));
    commit(&store, async |tx| tx.set_email_verified(ada.id, db.now()).await).await;
    assert_eq!(request(&db, &store, &ada.email, true).await, None);
}

async fn sr_58_a_recipient_gets_a_few_mails_of_a_kind(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").verified_and_seen_at(db.now()).insert(&store).await.id;
    for kind in MailKind::ALL {
        let mut races = JoinSet::new();
        for _ in 0..12 {
            let (store, now) = (store.clone(), db.now());
            races.spawn(async move { commit(&store, async |tx| tx.enqueue_mail(kind, ada, now).await).await });
        }
        let queued = races.join_all().await.into_iter().filter(|queued| *queued).count();
        assert_eq!(u64::try_from(queued), Ok(kind.limit().most), "{kind:?}");
    }
    db.clock.advance(days(2));
    assert!(commit(&store, async |tx| tx.enqueue_mail(MailKind::AlreadyRegistered, ada, db.now()).await).await);
}

async fn sr_58_notices_go_to_confirmed_addresses_only(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    for kind in [MailKind::PasswordChanged, MailKind::ApiKeyCreated] {
        assert!(!commit(&store, async |tx| tx.enqueue_mail(kind, ada, db.now()).await).await, "{kind:?}");
    }
    commit(&store, async |tx| tx.set_email_verified(ada, db.now()).await).await;
    for kind in [MailKind::PasswordChanged, MailKind::ApiKeyCreated] {
        assert!(commit(&store, async |tx| tx.enqueue_mail(kind, ada, db.now()).await).await, "{kind:?}");
    }
}

portcullis_testkit::on_both_engines!(
    sr_58_a_recipient_gets_a_few_mails_of_a_kind,
    sr_58_notices_go_to_confirmed_addresses_only,
    a_due_mail_is_claimed_with_its_user_and_template,
    a_mail_is_claimed_by_one_of_many_workers,
    a_claimed_mail_is_due_again_after_its_lease,
    a_failed_mail_is_due_again_at_its_next_attempt,
    a_sent_mail_is_never_due_again,
    a_mail_that_was_given_up_is_never_due_again,
    sr_11_a_requested_mail_goes_to_the_active_user,
    sr_11_requested_mails_are_limited_in_time,
    a_verified_address_needs_no_verification_mail,
);
