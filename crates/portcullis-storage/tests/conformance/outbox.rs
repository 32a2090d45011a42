use portcullis_model::Email;
use portcullis_storage::MailRequest;
use tokio::task::JoinSet;

use crate::bed::{Bed, seconds};

async fn of_many_workers_each_mail_goes_to_one(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let mut tx = store.begin().await.expect("begins");
    for _ in 0..10 {
        tx.enqueue_mail("verify_email", ada.id, bed.clock.now()).await.expect("inserts");
    }
    tx.commit().await.expect("commits");
    let mut races = JoinSet::new();
    for _ in 0..6 {
        let (store, now) = (store.clone(), bed.clock.now());
        races.spawn(async move { store.claim_due_mail(now, seconds(60), 4).await.expect("runs") });
    }
    let mut claimed: Vec<_> = races.join_all().await.into_iter().flatten().map(|mail| mail.id).collect();
    let count = claimed.len();
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), count, "a mail was claimed twice");
    while let [_, ..] = store.claim_due_mail(bed.clock.now(), seconds(60), 4).await.expect("runs").as_slice() {}
}

async fn a_mail_is_due_again_after_its_lease_or_its_failure_and_never_once_sent(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let mut tx = store.begin().await.expect("begins");
    let id = tx.enqueue_mail("verify_email", ada.id, bed.clock.now()).await.expect("inserts");
    tx.commit().await.expect("commits");
    let claim = async || store.claim_due_mail(bed.clock.now(), seconds(60), 10).await.expect("runs");
    let first = claim().await;
    assert_eq!((first.len(), first[0].id, first[0].attempts), (1, id, 1));
    assert_eq!((first[0].template.as_str(), first[0].user_id), ("verify_email", ada.id));
    assert!(claim().await.is_empty());
    bed.clock.advance(seconds(61));
    assert_eq!(claim().await[0].attempts, 2);
    store.mark_mail_failed(id, "451 try\0 later", bed.clock.now() + seconds(300)).await.expect("updates");
    bed.clock.advance(seconds(299));
    assert!(claim().await.is_empty());
    bed.clock.advance(seconds(2));
    assert_eq!(claim().await.len(), 1);
    store.mark_mail_sent(id, bed.clock.now()).await.expect("updates");
    bed.clock.advance(seconds(3600));
    assert!(claim().await.is_empty());
}

async fn sr_11_a_mail_asked_for_by_address_goes_to_active_accounts_and_a_few_times_only(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let nobody = Email::parse("nobody@example.com").expect("valid");
    let ask = async |email: &Email, only_unverified: bool| {
        let (at, within) = (bed.clock.now(), seconds(3600));
        let request = MailRequest { template: "reset_password", email, only_unverified, most: 2, within, at };
        let mut tx = store.begin().await.expect("begins");
        let whose = tx.request_mail(&request).await.expect("runs");
        tx.commit().await.expect("commits");
        whose
    };
    assert_eq!(ask(&nobody, false).await, None);
    assert_eq!(ask(&ada.email, true).await, Some(ada.id));
    assert_eq!(ask(&ada.email, false).await, Some(ada.id));
    assert_eq!(ask(&ada.email, false).await, None, "it has had enough");
    bed.clock.advance(seconds(3601));
    assert_eq!(ask(&ada.email, false).await, Some(ada.id));
    assert_eq!(store.claim_due_mail(bed.clock.now(), seconds(60), 10).await.expect("runs").len(), 3);
    let mut tx = store.begin().await.expect("begins");
    tx.set_email_verified(ada.id, bed.clock.now()).await.expect("runs");
    tx.commit().await.expect("commits");
    assert_eq!(ask(&ada.email, true).await, None, "it is confirmed");
    let mut tx = store.begin().await.expect("begins");
    tx.set_active(ada.id, false, bed.clock.now()).await.expect("runs");
    tx.commit().await.expect("commits");
    assert_eq!(ask(&ada.email, false).await, None, "it is disabled");
}

crate::on_both_engines!(
    sr_11_a_mail_asked_for_by_address_goes_to_active_accounts_and_a_few_times_only,
    of_many_workers_each_mail_goes_to_one,
    a_mail_is_due_again_after_its_lease_or_its_failure_and_never_once_sent,
);
