//! Facts about the installation, which all replicas share.

use tokio::task::JoinSet;

use crate::test_database::TestDatabase;

async fn an_instance_value_is_set_once_for_all_replicas(db: TestDatabase) {
    let (here, there) = (db.store().await, db.store().await);
    assert_eq!(here.instance_value("id").await.expect("reads"), None);
    let mut races = JoinSet::new();
    for n in 0..8 {
        let store = if n % 2 == 0 { here.clone() } else { there.clone() };
        races.spawn(async move { store.instance_value_or_insert("id", &n.to_string()).await.expect("inserts") });
    }
    let values = races.join_all().await;
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    assert_eq!(there.instance_value("id").await.expect("reads").as_ref(), Some(&values[0]));
}

portcullis_testkit::on_both_engines!(an_instance_value_is_set_once_for_all_replicas,);
