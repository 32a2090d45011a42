//! The gateway's own errors, in groups.

use portcullis_storage::{ErrorGroup, ErrorOccurrences, MOST_ERROR_GROUPS, PageStart, Prunable, Store};

use crate::test_database::{TestDatabase, commit, days, seconds};

/// One error of a group of its own.
fn error(db: &TestDatabase) -> ErrorOccurrences {
    let at = db.now();
    ErrorOccurrences {
        fingerprint: db.random_hash(),
        kind: "request",
        message: "the first message".to_owned(),
        route: Some("/api/v1/users/{id}".to_owned()),
        times: 1,
        first_seen_at: at,
        last_seen_at: at,
        last_request_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
        release: "1.0.0".to_owned(),
    }
}

async fn groups(store: &Store) -> Vec<ErrorGroup> {
    store.errors_from(100, PageStart::Offset(0)).await.expect("reads").groups
}

async fn errors_of_a_group_share_a_row(db: TestDatabase) {
    let store = db.store().await;
    let first = error(&db);
    store.record_errors(&first).await.expect("writes");
    db.clock.advance(seconds(5));
    let later = ErrorOccurrences {
        message: "the last message".to_owned(),
        times: 41,
        first_seen_at: db.now(),
        last_seen_at: db.now(),
        last_request_id: None,
        release: "1.0.1".to_owned(),
        ..first.clone()
    };
    store.record_errors(&later).await.expect("writes");
    let found = groups(&store).await;
    let [group] = &found[..] else { panic!("{found:?}") };
    assert_eq!((group.times, group.message.as_str(), group.release.as_str()), (42, "the last message", "1.0.1"));
    assert_eq!((group.first_seen_at, group.last_seen_at), (first.first_seen_at, later.last_seen_at));
    assert_eq!((group.kind.as_str(), group.route.as_deref()), ("request", Some("/api/v1/users/{id}")));
    assert_eq!(group.last_request_id, None);
}

async fn groups_are_listed_by_their_last_error(db: TestDatabase) {
    let store = db.store().await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        db.clock.advance(seconds(1));
        let error = error(&db);
        store.record_errors(&error).await.expect("writes");
        expected.insert(0, error.last_seen_at);
    }
    let first = store.errors_from(2, PageStart::Offset(0)).await.expect("reads");
    assert_eq!((first.total.counted, first.has_more), (5, true));
    let last = first.groups.last().expect("two groups");
    let rest = store.errors_from(3, PageStart::After(last.last_seen_at, last.id)).await.expect("reads");
    assert!(!rest.has_more);
    let listed: Vec<_> = first.groups.iter().chain(&rest.groups).map(|group| group.last_seen_at).collect();
    assert_eq!(listed, expected);
    let second = store.errors_from(2, PageStart::Offset(2)).await.expect("reads").groups;
    assert_eq!(second.iter().map(|group| group.last_seen_at).collect::<Vec<_>>(), expected[2..4]);
}

async fn the_oldest_group_makes_room_for_a_new_one(db: TestDatabase) {
    let store = db.store().await;
    let oldest = error(&db);
    store.record_errors(&oldest).await.expect("writes");
    let id = groups(&store).await[0].id;
    db.clock.advance(seconds(1));
    let second = error(&db);
    store.record_errors(&second).await.expect("writes");
    // Copies of the second group fill the table.
    let (uuid, bytes, numbers) = match store.engine() {
        "sqlite" => (
            "randomblob(16)",
            "BLOB",
            "(WITH RECURSIVE numbers(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM numbers WHERE i < $most) \
             SELECT i FROM numbers) AS numbers",
        ),
        _ => ("gen_random_uuid()", "BYTEA", "generate_series(3, $most) AS numbers (i)"),
    };
    let numbers = numbers.replace("$most", &MOST_ERROR_GROUPS.to_string());
    let columns = "kind, message, times, first_seen_at, last_seen_at, release";
    let copies = format!(
        "INSERT INTO errors (id, fingerprint, {columns}) SELECT {uuid}, CAST(CAST(i AS TEXT) AS {bytes}), {columns} \
         FROM errors CROSS JOIN {numbers} WHERE last_seen_at = (SELECT max(last_seen_at) FROM errors)"
    );
    db.raw().await.run(&copies).await;
    let total = async || store.errors_from(1, PageStart::Offset(0)).await.expect("reads").total.counted;
    assert_eq!(total().await, MOST_ERROR_GROUPS);
    db.clock.advance(seconds(1));
    let newest = error(&db);
    store.record_errors(&newest).await.expect("writes");
    assert_eq!(total().await, MOST_ERROR_GROUPS);
    assert_eq!(groups(&store).await[0].last_seen_at, newest.last_seen_at);
    assert!(!commit(&store, async |tx| tx.delete_error_group(id).await).await, "the oldest stayed");
}

async fn a_deleted_group_begins_anew(db: TestDatabase) {
    let store = db.store().await;
    let error = ErrorOccurrences { times: 7, ..error(&db) };
    store.record_errors(&error).await.expect("writes");
    let id = groups(&store).await[0].id;
    assert!(commit(&store, async |tx| tx.delete_error_group(id).await).await);
    assert!(!commit(&store, async |tx| tx.delete_error_group(id).await).await);
    assert!(groups(&store).await.is_empty());
    store.record_errors(&error).await.expect("writes");
    let again = groups(&store).await;
    assert!(again[0].times == 7 && again[0].id != id, "{again:?}");
}

async fn a_group_is_pruned_by_its_last_error(db: TestDatabase) {
    let store = db.store().await;
    let (quiet, live) = (error(&db), error(&db));
    store.record_errors(&quiet).await.expect("writes");
    store.record_errors(&live).await.expect("writes");
    db.clock.advance(days(31));
    store.record_errors(&ErrorOccurrences { last_seen_at: db.now(), ..live }).await.expect("writes");
    assert_eq!(store.prune(Prunable::Errors, db.now() - days(30), 10).await.expect("deletes"), 1);
    assert_eq!(groups(&store).await.len(), 1);
    assert_eq!(groups(&store).await[0].times, 2);
}

async fn sr_47_a_stored_message_holds_no_token(db: TestDatabase) {
    let store = db.store().await;
    let token = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4";
    let message = format!("\0refused {token} {}", "x ".repeat(1_000));
    store.record_errors(&ErrorOccurrences { message, ..error(&db) }).await.expect("writes");
    let stored = &groups(&store).await[0].message;
    assert!(stored.starts_with("refused [redacted] x") && stored.len() == 1_000, "{stored}");
}

portcullis_testkit::on_both_engines!(
    errors_of_a_group_share_a_row,
    groups_are_listed_by_their_last_error,
    the_oldest_group_makes_room_for_a_new_one,
    a_deleted_group_begins_anew,
    a_group_is_pruned_by_its_last_error,
    sr_47_a_stored_message_holds_no_token,
);
