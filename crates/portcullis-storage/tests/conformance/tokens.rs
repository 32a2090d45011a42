use portcullis_storage::{NewOneTimeToken, SpentToken, Store, TokenPurpose};
use tokio::task::JoinSet;

use crate::bed::{Bed, seconds};

async fn store_token(bed: &Bed, store: &Store, purpose: TokenPurpose) -> NewOneTimeToken {
    let now = bed.clock.now();
    let token =
        NewOneTimeToken { hash: bed.hash(), purpose, user_id: None, created_at: now, expires_at: now + seconds(1800) };
    let mut tx = store.begin().await.expect("begins");
    tx.insert_one_time_token(&token).await.expect("is new");
    tx.commit().await.expect("commits");
    token
}

async fn spend(store: &Store, bed_now: portcullis_model::Timestamp, hash: [u8; 32]) -> Option<SpentToken> {
    let mut tx = store.begin().await.expect("begins");
    let spent = tx.consume_one_time_token(&hash, TokenPurpose::FirstAdmin, bed_now).await.expect("runs");
    tx.commit().await.expect("commits");
    spent
}

async fn sr_12_of_many_who_spend_one_token_exactly_one_gets_it(bed: Bed) {
    let store = bed.store().await;
    let token = store_token(&bed, &store, TokenPurpose::FirstAdmin).await;
    let mut races = JoinSet::new();
    for _ in 0..12 {
        let (store, now) = (store.clone(), bed.clock.now());
        races.spawn(async move { spend(&store, now, token.hash).await });
    }
    let spent: Vec<_> = races.join_all().await.into_iter().flatten().collect();
    assert_eq!(spent, [SpentToken { user_id: None }]);
}

async fn sr_12_an_expired_a_foreign_and_an_unknown_token_are_nothing(bed: Bed) {
    let store = bed.store().await;
    let other = store_token(&bed, &store, TokenPurpose::VerifyEmail).await;
    assert!(spend(&store, bed.clock.now(), other.hash).await.is_none(), "spent for another purpose");
    assert!(spend(&store, bed.clock.now(), bed.hash()).await.is_none());
    let token = store_token(&bed, &store, TokenPurpose::FirstAdmin).await;
    let good = async |now| store.good_one_time_token(&token.hash, now).await.expect("runs").map(|good| good.purpose);
    assert_eq!(good(token.expires_at).await, None);
    assert_eq!(good(token.expires_at - seconds(1)).await, Some(TokenPurpose::FirstAdmin));
    assert!(spend(&store, token.expires_at, token.hash).await.is_none(), "spent in the moment it expired");
    assert!(spend(&store, token.expires_at - seconds(1), token.hash).await.is_some());
    assert_eq!(good(token.expires_at - seconds(1)).await, None, "it is spent");
}

async fn a_spending_that_is_rolled_back_was_none(bed: Bed) {
    let store = bed.store().await;
    let token = store_token(&bed, &store, TokenPurpose::FirstAdmin).await;
    let mut tx = store.begin().await.expect("begins");
    let now = bed.clock.now();
    assert!(tx.consume_one_time_token(&token.hash, token.purpose, now).await.expect("runs").is_some());
    drop(tx);
    assert!(spend(&store, now, token.hash).await.is_some());
}

async fn earlier_tokens_of_the_same_purpose_and_person_can_be_discarded(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let now = bed.clock.now();
    let nobodys = store_token(&bed, &store, TokenPurpose::FirstAdmin).await;
    let adas = NewOneTimeToken {
        hash: bed.hash(),
        purpose: TokenPurpose::VerifyEmail,
        user_id: Some(ada.id),
        created_at: now,
        expires_at: now + seconds(60),
    };
    let mut tx = store.begin().await.expect("begins");
    tx.insert_one_time_token(&adas).await.expect("is new");
    assert_eq!(tx.discard_one_time_tokens(TokenPurpose::FirstAdmin, Some(ada.id)).await.expect("runs"), 0);
    assert_eq!(tx.discard_one_time_tokens(TokenPurpose::VerifyEmail, None).await.expect("runs"), 0);
    assert_eq!(tx.discard_one_time_tokens(TokenPurpose::FirstAdmin, None).await.expect("runs"), 1);
    let spent = tx.consume_one_time_token(&adas.hash, adas.purpose, now).await.expect("runs");
    assert_eq!(spent, Some(SpentToken { user_id: Some(ada.id) }));
    assert_eq!(tx.discard_one_time_tokens(TokenPurpose::VerifyEmail, Some(ada.id)).await.expect("runs"), 0);
    tx.commit().await.expect("commits");
    assert!(spend(&store, now, nobodys.hash).await.is_none());
}

crate::on_both_engines!(
    sr_12_of_many_who_spend_one_token_exactly_one_gets_it,
    sr_12_an_expired_a_foreign_and_an_unknown_token_are_nothing,
    a_spending_that_is_rolled_back_was_none,
    earlier_tokens_of_the_same_purpose_and_person_can_be_discarded,
);
