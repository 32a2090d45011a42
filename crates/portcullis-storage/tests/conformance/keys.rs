use portcullis_storage::{SigningKey, StoreError};
use tokio::task::JoinSet;

use crate::bed::{Bed, seconds};

fn key(bed: &Bed, kid: &str) -> SigningKey {
    SigningKey {
        kid: kid.to_owned(),
        algorithm: "EdDSA".to_owned(),
        public_key: bed.hash().to_vec(),
        sealed_private: vec![0, 1, 255],
        created_at: bed.clock.now(),
        signs_from: bed.clock.now(),
        retired_at: None,
    }
}

async fn of_many_replicas_that_make_the_first_key_one_does(bed: Bed) {
    let store = bed.store().await;
    let mut races = JoinSet::new();
    for n in 0..8 {
        let (store, key) = (store.clone(), key(&bed, &format!("key{n}")));
        races.spawn(async move {
            let mut tx = store.begin().await.expect("begins");
            let first = tx.insert_first_signing_key(&key).await.expect("runs");
            tx.commit().await.expect("commits");
            first
        });
    }
    assert_eq!(races.join_all().await.into_iter().filter(|first| *first).count(), 1);
    assert_eq!(store.signing_keys().await.expect("reads").len(), 1);
}

async fn keys_come_back_newest_first_with_retired_ones(bed: Bed) {
    let store = bed.store().await;
    let old = SigningKey { retired_at: Some(bed.clock.now()), ..key(&bed, "old") };
    bed.clock.advance(seconds(1));
    let new = key(&bed, "new");
    let mut tx = store.begin().await.expect("begins");
    tx.insert_signing_key(&old).await.expect("is new");
    assert!(tx.insert_first_signing_key(&new).await.expect("runs"), "a retired key counted");
    tx.commit().await.expect("commits");
    let keys = store.signing_keys().await.expect("reads");
    assert_eq!(keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["new", "old"]);
    assert_eq!((&keys[0].public_key, &keys[0].sealed_private), (&new.public_key, &new.sealed_private));
    assert_eq!((keys[0].created_at, keys[1].retired_at), (new.created_at, old.retired_at));
    let mut tx = store.begin().await.expect("begins");
    let conflict = tx.insert_signing_key(&key(&bed, "new")).await.expect_err("the name is taken");
    assert!(matches!(conflict, StoreError::Conflict("signing_keys_kid")), "{conflict:?}");
}

async fn a_key_signs_from_its_time_is_retired_and_sealed_anew(bed: Bed) {
    let store = bed.store().await;
    let (now, later) = (bed.clock.now(), bed.clock.now() + seconds(60));
    let mut tx = store.begin().await.expect("begins");
    tx.insert_signing_key(&SigningKey { signs_from: later, ..key(&bed, "next") }).await.expect("is new");
    tx.insert_signing_key(&SigningKey { signs_from: now, ..key(&bed, "current") }).await.expect("is new");
    assert!(tx.reseal_signing_key("current", &[9]).await.expect("runs"));
    assert!(!tx.reseal_signing_key("nobody", &[9]).await.expect("runs"));
    tx.commit().await.expect("commits");
    let mut tx = store.begin().await.expect("begins");
    let keys = tx.lock_signing_keys().await.expect("reads");
    assert_eq!(keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["next", "current"]);
    assert_eq!((keys[0].signs_from, keys[1].signs_from), (later, now));
    assert_eq!(keys[1].sealed_private, [9]);
    assert!(tx.retire_signing_key("current", later).await.expect("runs"));
    assert!(!tx.retire_signing_key("current", later).await.expect("runs"), "once");
    tx.commit().await.expect("commits");
    assert_eq!(store.signing_keys().await.expect("reads")[1].retired_at, Some(later));
}

async fn an_instance_value_is_set_once_for_all_replicas(bed: Bed) {
    let (here, there) = (bed.store().await, bed.store().await);
    assert_eq!(here.instance_value("id").await.expect("reads"), None);
    let mut races = JoinSet::new();
    for n in 0..8 {
        let store = if n % 2 == 0 { here.clone() } else { there.clone() };
        races.spawn(async move { store.instance_value_or_insert("id", &n.to_string()).await.expect("runs") });
    }
    let values = races.join_all().await;
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    assert_eq!(there.instance_value("id").await.expect("reads").as_ref(), Some(&values[0]));
}

crate::on_both_engines!(
    of_many_replicas_that_make_the_first_key_one_does,
    keys_come_back_newest_first_with_retired_ones,
    a_key_signs_from_its_time_is_retired_and_sealed_anew,
    an_instance_value_is_set_once_for_all_replicas,
);
