//! Tokens of mailed links, which work once.

use portcullis_model::Timestamp;
use portcullis_storage::{NewOneTimeToken, SpentToken, Store, TokenPurpose};
use tokio::task::JoinSet;

use crate::builders::one_time_token;
use crate::test_database::{TestDatabase, commit, roll_back, seconds};

async fn insert(db: &TestDatabase, store: &Store, purpose: TokenPurpose) -> NewOneTimeToken {
    let token = one_time_token(db, purpose);
    commit(store, async |tx| tx.insert_one_time_token(&token).await).await;
    token
}

async fn spend(store: &Store, hash: [u8; 32], now: Timestamp) -> Option<SpentToken> {
    commit(store, async |tx| tx.consume_one_time_token(&hash, TokenPurpose::FirstAdmin, now).await).await
}

async fn sr_12_one_of_many_concurrent_uses_spends_the_token(db: TestDatabase) {
    let store = db.store().await;
    let token = insert(&db, &store, TokenPurpose::FirstAdmin).await;
    let mut races = JoinSet::new();
    for _ in 0..12 {
        let (store, now) = (store.clone(), db.now());
        races.spawn(async move { spend(&store, token.hash, now).await });
    }
    let spent: Vec<_> = races.join_all().await.into_iter().flatten().collect();
    assert_eq!(spent, [SpentToken { user_id: None }]);
}

async fn sr_12_a_token_of_another_purpose_is_refused(db: TestDatabase) {
    let store = db.store().await;
    let token = insert(&db, &store, TokenPurpose::VerifyEmail).await;
    assert!(spend(&store, token.hash, db.now()).await.is_none());
}

async fn sr_12_an_unknown_token_is_refused(db: TestDatabase) {
    let store = db.store().await;
    assert!(spend(&store, db.random_hash(), db.now()).await.is_none());
}

async fn sr_12_a_token_expires(db: TestDatabase) {
    let store = db.store().await;
    let token = insert(&db, &store, TokenPurpose::FirstAdmin).await;
    assert!(spend(&store, token.hash, token.expires_at).await.is_none(), "spent at the moment of its expiry");
    assert!(spend(&store, token.hash, token.expires_at - seconds(1)).await.is_some());
}

async fn looking_at_a_token_does_not_spend_it(db: TestDatabase) {
    let store = db.store().await;
    let token = insert(&db, &store, TokenPurpose::FirstAdmin).await;
    let purpose = async |now| store.usable_one_time_token(&token.hash, now).await.expect("reads").map(|it| it.purpose);
    assert_eq!(purpose(token.expires_at).await, None);
    assert_eq!(purpose(db.now()).await, Some(TokenPurpose::FirstAdmin));
    assert!(spend(&store, token.hash, db.now()).await.is_some());
    assert_eq!(purpose(db.now()).await, None, "it is spent");
}

async fn a_rolled_back_use_does_not_spend_the_token(db: TestDatabase) {
    let store = db.store().await;
    let token = insert(&db, &store, TokenPurpose::FirstAdmin).await;
    let now = db.now();
    let spent = roll_back(&store, async |tx| tx.consume_one_time_token(&token.hash, token.purpose, now).await).await;
    assert!(spent.is_some());
    assert!(spend(&store, token.hash, now).await.is_some());
}

async fn earlier_tokens_can_be_discarded(db: TestDatabase) {
    let store = db.store().await;
    let token = insert(&db, &store, TokenPurpose::FirstAdmin).await;
    let discarded = commit(&store, async |tx| tx.discard_one_time_tokens(TokenPurpose::FirstAdmin, None).await).await;
    assert_eq!(discarded, 1);
    assert!(spend(&store, token.hash, db.now()).await.is_none());
}

async fn sr_52_a_user_has_a_few_unspent_tokens(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let purpose = TokenPurpose::ResetPassword;
    let mut tokens = Vec::new();
    for _ in 0..4 {
        db.clock.advance(seconds(1));
        let token = NewOneTimeToken { user_id: Some(ada), ..one_time_token(&db, purpose) };
        commit(&store, async |tx| tx.insert_one_time_token(&token).await).await;
        tokens.push(token.hash);
    }
    assert_eq!(commit(&store, async |tx| tx.discard_older_one_time_tokens(purpose, ada, 3).await).await, 1);
    for (n, hash) in tokens.iter().enumerate() {
        let good = store.usable_one_time_token(hash, db.now()).await.expect("reads");
        assert_eq!(good.is_some(), n > 0, "token {n}");
    }
}

async fn tokens_of_other_users_and_purposes_are_kept(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let token = NewOneTimeToken { user_id: Some(ada), ..one_time_token(&db, TokenPurpose::VerifyEmail) };
    commit(&store, async |tx| tx.insert_one_time_token(&token).await).await;
    for (purpose, user) in [(TokenPurpose::FirstAdmin, Some(ada)), (TokenPurpose::VerifyEmail, None)] {
        assert_eq!(commit(&store, async |tx| tx.discard_one_time_tokens(purpose, user).await).await, 0);
    }
    let now = db.now();
    let spent = commit(&store, async |tx| tx.consume_one_time_token(&token.hash, token.purpose, now).await).await;
    assert_eq!(spent, Some(SpentToken { user_id: Some(ada) }));
}

async fn a_spent_token_is_not_discarded(db: TestDatabase) {
    let store = db.store().await;
    let token = insert(&db, &store, TokenPurpose::FirstAdmin).await;
    spend(&store, token.hash, db.now()).await;
    assert_eq!(commit(&store, async |tx| tx.discard_one_time_tokens(token.purpose, None).await).await, 0);
}

portcullis_testkit::on_both_engines!(
    sr_52_a_user_has_a_few_unspent_tokens,
    sr_12_one_of_many_concurrent_uses_spends_the_token,
    sr_12_a_token_of_another_purpose_is_refused,
    sr_12_an_unknown_token_is_refused,
    sr_12_a_token_expires,
    looking_at_a_token_does_not_spend_it,
    a_rolled_back_use_does_not_spend_the_token,
    earlier_tokens_can_be_discarded,
    tokens_of_other_users_and_purposes_are_kept,
    a_spent_token_is_not_discarded,
);
