use portcullis_model::Email;
use portcullis_storage::{AttemptSubjects, Prunable, Store};
use tokio::task::JoinSet;

use crate::bed::{Bed, days, seconds};

fn subjects(bed: &Bed) -> AttemptSubjects {
    AttemptSubjects { account: bed.hash(), client: bed.hash(), pair: bed.hash() }
}

async fn fail(bed: &Bed, store: &Store, subjects: &AttemptSubjects) {
    let now = bed.clock.now();
    store.count_failure(subjects, now, now - seconds(900)).await.expect("counts");
}

async fn counts(store: &Store, email: &Email, subjects: &AttemptSubjects) -> (u64, u64, u64) {
    let view = store.sign_in_view(email, subjects, None).await.expect("reads");
    (view.account.count, view.client.count, view.pair.count)
}

async fn sr_09_failures_are_counted_for_unknown_accounts_too_and_forgotten_after_a_success(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let nobody = Email::parse("nobody@example.com").expect("valid");
    let (known, unknown) = (subjects(&bed), subjects(&bed));
    for (email, subjects) in [(&ada.email, &known), (&nobody, &unknown)] {
        assert_eq!(counts(&store, email, subjects).await, (0, 0, 0));
        fail(&bed, &store, subjects).await;
        fail(&bed, &store, subjects).await;
        let view = store.sign_in_view(email, subjects, None).await.expect("reads");
        assert_eq!((view.account.count, view.client.count, view.pair.count), (2, 2, 2));
        assert!(view.account.last_at.is_some_and(|at| at <= bed.clock.now() && bed.clock.now() - seconds(5) < at));
        assert_eq!(view.credentials.is_some(), email == &ada.email);
    }
    let mut tx = store.begin().await.expect("begins");
    assert_eq!(tx.forget_failures(&known).await.expect("runs"), 2);
    assert_eq!(tx.forget_failures(&known).await.expect("runs"), 0);
    tx.commit().await.expect("commits");
    assert_eq!(counts(&store, &ada.email, &known).await, (0, 2, 0), "a client is not cleared by one success");
}

async fn sr_09_a_quiet_client_begins_anew_and_an_account_does_not(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let subjects = subjects(&bed);
    fail(&bed, &store, &subjects).await;
    bed.clock.advance(seconds(901));
    fail(&bed, &store, &subjects).await;
    assert_eq!(counts(&store, &ada.email, &subjects).await, (2, 1, 1));
    bed.clock.advance(days(31));
    store.prune(Prunable::SignInAttempts, bed.clock.now() - days(30), 10).await.expect("prunes");
    assert_eq!(counts(&store, &ada.email, &subjects).await, (0, 0, 0), "a month of quiet");
}

async fn failures_at_the_same_time_are_all_counted(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let subjects = subjects(&bed);
    let mut races = JoinSet::new();
    for _ in 0..20 {
        let (store, now) = (store.clone(), bed.clock.now());
        races.spawn(async move { store.count_failure(&subjects, now, now - seconds(900)).await.expect("counts") });
    }
    races.join_all().await;
    assert_eq!(counts(&store, &ada.email, &subjects).await, (20, 20, 20));
}

async fn a_client_is_known_by_a_sign_in_there_or_by_a_link(bed: Bed) {
    let store = bed.store().await;
    let (ada, ben) = (bed.someone(&store, "ada").await, bed.someone(&store, "ben").await);
    let session = bed.signed_in(&store, ada.id).await;
    let subjects = subjects(&bed);
    let known =
        async |email: &Email, ip| store.sign_in_view(email, &subjects, ip).await.expect("reads").is_known_client;
    assert!(known(&ada.email, session.ip).await);
    assert!(!known(&ben.email, session.ip).await, "somebody else signed in there");
    assert!(!known(&ada.email, Some("192.0.2.9".parse().expect("an address"))).await);
    assert!(!known(&Email::parse("nobody@example.com").expect("valid"), session.ip).await);

    fail(&bed, &store, &subjects).await;
    let mut tx = store.begin().await.expect("begins");
    tx.trust_client(&subjects, bed.clock.now(), bed.clock.now() + days(30)).await.expect("runs");
    tx.commit().await.expect("commits");
    assert!(known(&ben.email, None).await);
    let mut tx = store.begin().await.expect("begins");
    tx.forget_failures(&subjects).await.expect("runs");
    tx.commit().await.expect("commits");
    assert!(known(&ben.email, None).await, "a success keeps it");
    bed.clock.advance(days(31));
    assert!(!known(&ben.email, None).await);
}

crate::on_both_engines!(
    sr_09_failures_are_counted_for_unknown_accounts_too_and_forgotten_after_a_success,
    sr_09_a_quiet_client_begins_anew_and_an_account_does_not,
    failures_at_the_same_time_are_all_counted,
    a_client_is_known_by_a_sign_in_there_or_by_a_link,
);
