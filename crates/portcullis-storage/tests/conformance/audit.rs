//! The audit log: appending, aggregating, searching and pruning.

use std::net::Ipv4Addr;

use portcullis_model::{Timestamp, UserId};
use portcullis_storage::{AuditEvent, AuditFilter, AuditRecord, Outcome, PageStart, Prunable, Store};
use serde_json::json;

use crate::test_database::{TestDatabase, commit, roll_back, seconds};

async fn append(store: &Store, event: &AuditEvent) {
    store.append_audit(event).await.expect("inserts");
}

async fn find(store: &Store, filter: &AuditFilter) -> Vec<AuditRecord> {
    store.audit_page(filter, 2_000, 0).await.expect("reads").records
}

async fn sr_36_an_event_is_read_as_it_was_appended(db: TestDatabase) {
    let store = db.store().await;
    let (user, session) = (db.unknown_user(), db.unknown_session());
    let event = AuditEvent {
        actor_id: Some(user),
        subject_id: Some(user),
        session_id: Some(session),
        ip: Some("192.0.2.1".parse().expect("an address")),
        user_agent: Some("curl\r\nforged: line\0".to_owned()),
        request_id: Some("0123abcd".to_owned()),
        details: Some(json!({"amr": ["pwd"]})),
        ..db.event("auth.register", Outcome::Success)
    };
    commit(&store, async |tx| tx.append_audit(&event).await).await;
    let record = find(&store, &AuditFilter::default()).await.remove(0);
    assert_eq!((record.action.as_str(), record.outcome.as_str(), record.at), ("auth.register", "success", event.at));
    assert_eq!((record.actor_id, record.subject_id, record.session_id), (Some(user), Some(user), Some(session)));
    assert_eq!((record.ip.as_deref(), record.user_agent.as_deref()), (Some("192.0.2.1"), Some("curlforged: line")));
    assert_eq!((record.request_id.as_deref(), &record.details), (Some("0123abcd"), &event.details));
    assert_eq!((record.times, record.last_at), (1, None));
}

async fn pages_are_newest_first(db: TestDatabase) {
    let store = db.store().await;
    for action in ["auth.register", "auth.login"] {
        append(&store, &db.event(action, Outcome::Success)).await;
        db.clock.advance(seconds(1));
    }
    let page = async |offset| store.audit_page(&AuditFilter::default(), 1, offset).await.expect("reads");
    assert_eq!((page(0).await.records[0].action.as_str(), page(0).await.total.counted), ("auth.login", 2));
    assert_eq!(page(1).await.records[0].action, "auth.register");
}

async fn an_event_of_a_rolled_back_change_is_not_kept(db: TestDatabase) {
    let store = db.store().await;
    let event = db.event("auth.register", Outcome::Success);
    roll_back(&store, async |tx| tx.append_audit(&event).await).await;
    assert!(find(&store, &AuditFilter::default()).await.is_empty());
}

/// Returns a wrong password for this user from the `n`th address.
fn wrong_password(db: &TestDatabase, user: UserId, n: u32) -> AuditEvent {
    AuditEvent {
        ip: Some(Ipv4Addr::from(0x0a00_0000 + n).into()),
        subject_id: Some(user),
        details: Some(json!({"reason": "wrong password"})),
        ..db.event("auth.login", Outcome::Failure)
    }
}

async fn sr_49_repeated_failures_of_a_minute_are_one_line(db: TestDatabase) {
    let store = db.store().await;
    let (ada, ben) = (db.unknown_user(), db.unknown_user());
    let at = db.now();
    for user in [ada, ada, ada, ada, ada, ben] {
        append(&store, &AuditEvent { at, ..wrong_password(&db, user, 1) }).await;
    }
    let lines = find(&store, &AuditFilter::default()).await;
    let of = |user| lines.iter().find(|line| line.subject_id == Some(user)).expect("has a line");
    assert_eq!(lines.len(), 2);
    assert_eq!((of(ada).times, of(ben).times, of(ben).last_at), (5, 1, None));
    assert!(of(ada).last_at.is_some());
}

async fn sr_49_failures_beyond_1000_addresses_share_a_line(db: TestDatabase) {
    let store = db.store().await;
    let (ada, at) = (db.unknown_user(), db.now());
    for n in 0..1_010 {
        append(&store, &AuditEvent { at, ..wrong_password(&db, ada, n) }).await;
    }
    let lines = find(&store, &AuditFilter { user: Some(ada), ..AuditFilter::default() }).await;
    let shared: Vec<_> = lines.iter().filter(|line| line.ip.is_none()).map(|line| line.times).collect();
    assert_eq!((lines.len(), shared), (1_001, vec![10]));
}

async fn successes_are_a_line_each(db: TestDatabase) {
    let store = db.store().await;
    for _ in 0..2 {
        append(&store, &db.event("auth.login", Outcome::Success)).await;
    }
    let filter = AuditFilter { outcome: Some(Outcome::Success), ..AuditFilter::default() };
    assert_eq!(find(&store, &filter).await.len(), 2);
}

/// Appends three events of two users, ten seconds apart, and returns when the first was.
async fn three_events(db: &TestDatabase, store: &Store, ada: UserId, ben: UserId) -> Timestamp {
    let begun = db.now();
    for (action, actor, subject) in [("auth.login", ada, ada), ("user.edit", ada, ben), ("auth.login", ben, ben)] {
        let (actor_id, subject_id) = (Some(actor), Some(subject));
        append(store, &AuditEvent { actor_id, subject_id, ..db.event(action, Outcome::Success) }).await;
        db.clock.advance(seconds(10));
    }
    begun
}

async fn events_are_found_by_actor_and_by_subject(db: TestDatabase) {
    let store = db.store().await;
    let (ada, ben) = (db.unknown_user(), db.unknown_user());
    three_events(&db, &store, ada, ben).await;
    for user in [ada, ben] {
        assert_eq!(find(&store, &AuditFilter { user: Some(user), ..AuditFilter::default() }).await.len(), 2);
    }
}

async fn events_are_found_by_action(db: TestDatabase) {
    let store = db.store().await;
    three_events(&db, &store, db.unknown_user(), db.unknown_user()).await;
    for (action, count) in [("user.edit", 1), ("auth.login", 2), ("\0", 0)] {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        assert_eq!(find(&store, &filter).await.len(), count, "{action:?}");
    }
}

async fn events_are_found_by_time(db: TestDatabase) {
    let store = db.store().await;
    let begun = three_events(&db, &store, db.unknown_user(), db.unknown_user()).await;
    let (from, to) = (Some(begun + seconds(10)), Some(begun + seconds(20)));
    let found = find(&store, &AuditFilter { from, to, ..AuditFilter::default() }).await;
    assert_eq!(found.iter().map(|line| line.action.as_str()).collect::<Vec<_>>(), ["user.edit"]);
}

async fn a_cursor_continues_every_filter(db: TestDatabase) {
    let store = db.store().await;
    let (ada, ben) = (db.unknown_user(), db.unknown_user());
    let begun = three_events(&db, &store, ada, ben).await;
    let action = Some("auth.login".to_owned());
    for filter in [
        AuditFilter::default(),
        AuditFilter { user: Some(ada), ..AuditFilter::default() },
        AuditFilter { user: Some(ben), from: Some(begun), to: Some(db.now()), ..AuditFilter::default() },
        AuditFilter { user: Some(ada), action: action.clone(), ..AuditFilter::default() },
        AuditFilter { action, outcome: Some(Outcome::Success), ..AuditFilter::default() },
    ] {
        let whole = store.audit_page(&filter, 10, 0).await.expect("reads");
        let ids = |records: &[AuditRecord]| records.iter().map(|record| record.id).collect::<Vec<_>>();
        assert!(whole.records.is_sorted_by_key(|record| std::cmp::Reverse(record.at)));
        let (mut walked, mut by_page, mut start) = (Vec::new(), Vec::new(), PageStart::Offset(0));
        loop {
            by_page.extend(store.audit_page(&filter, 1, by_page.len() as u64).await.expect("reads").records);
            let page = store.audit_from(&filter, 1, start).await.expect("reads");
            assert_eq!(page.total, whole.total);
            walked.extend(page.records);
            let last = walked.last().expect("there are lines");
            start = PageStart::After(last.at, last.id);
            if !page.has_more {
                break;
            }
        }
        assert_eq!((ids(&walked), ids(&by_page)), (ids(&whole.records), ids(&whole.records)), "{filter:?}");
    }
}

async fn an_export_walks_the_log_oldest_first(db: TestDatabase) {
    let store = db.store().await;
    three_events(&db, &store, db.unknown_user(), db.unknown_user()).await;
    let mut walked: Vec<AuditRecord> = Vec::new();
    loop {
        let last = walked.last().map(|line| (line.at, line.id));
        let batch = store.audit_after(&AuditFilter::default(), last, 2).await.expect("reads");
        if batch.is_empty() {
            break;
        }
        walked.extend(batch);
    }
    let actions: Vec<&str> = walked.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(actions, ["auth.login", "user.edit", "auth.login"]);
}

async fn old_lines_are_pruned(db: TestDatabase) {
    let store = db.store().await;
    let begun = three_events(&db, &store, db.unknown_user(), db.unknown_user()).await;
    assert_eq!(store.prune(Prunable::AuditLog, begun + seconds(5), 10).await.expect("deletes"), 1);
    assert_eq!(find(&store, &AuditFilter::default()).await.len(), 2);
}

async fn sr_49_concurrent_failures_are_counted_each(db: TestDatabase) {
    let (store, metrics) = db.measured_store().await;
    let event = wrong_password(&db, db.unknown_user(), 1);
    let before = metrics.database_statements();
    let appends = (0..500).map(|_| store.append_audit(&event));
    for outcome in futures_util::future::join_all(appends).await {
        outcome.expect("writes");
    }
    assert!(metrics.database_statements() - before < 10, "each wrote for itself");
    let lines = find(&store, &AuditFilter::default()).await;
    assert_eq!(lines.iter().map(|line| line.times).collect::<Vec<_>>(), [500]);
}

async fn sr_49_a_cancelled_writer_leaves_its_line_to_the_next(db: TestDatabase) {
    let store = db.store().await;
    let event = wrong_password(&db, db.unknown_user(), 1);
    let mut first = Box::pin(store.append_audit(&event));
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = Box::pin(store.append_audit(&event));
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    second.await.expect("writes");
    append(&store, &event).await;
    assert!(find(&store, &AuditFilter::default()).await[0].times >= 2);
}

async fn replicas_have_lines_of_their_own(db: TestDatabase) {
    let event = wrong_password(&db, db.unknown_user(), 1);
    let (one, other) = (db.store().await, db.store().await);
    append(&one, &event).await;
    append(&other, &event).await;
    assert_eq!(find(&one, &AuditFilter::default()).await.len(), 2);
}

/// A line that another transaction has locked takes one connection, however many repetitions wait for it.
#[tokio::test]
async fn sr_49_waiting_for_a_line_takes_one_connection() {
    let db = TestDatabase::postgres();
    let store = db.store().await;
    let event = wrong_password(&db, db.unknown_user(), 1);
    append(&store, &event).await;
    let mut raw = db.raw().await;
    raw.run("BEGIN; UPDATE audit_log SET request_id = 'locked'").await;
    let mut waiting = Box::pin(futures_util::future::join_all((0..20).map(|_| store.append_audit(&event))));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    // Four connections are all that the pool has.
    let others = async {
        for _ in 0..20 {
            store.ping().await.expect("a connection is free");
            append(&store, &db.event("auth.login", Outcome::Success)).await;
        }
    };
    tokio::select! {
        () = others => {}
        _ = &mut waiting => panic!("the line is locked"),
    }
    raw.run("COMMIT").await;
    assert!(waiting.await.into_iter().all(|outcome| outcome.is_ok()));
    let filter = AuditFilter { outcome: Some(Outcome::Failure), ..AuditFilter::default() };
    assert_eq!(find(&store, &filter).await[0].times, 21);
}

portcullis_testkit::on_both_engines!(
    a_cursor_continues_every_filter,
    sr_49_concurrent_failures_are_counted_each,
    sr_49_a_cancelled_writer_leaves_its_line_to_the_next,
    replicas_have_lines_of_their_own,
    sr_36_an_event_is_read_as_it_was_appended,
    pages_are_newest_first,
    an_event_of_a_rolled_back_change_is_not_kept,
    sr_49_repeated_failures_of_a_minute_are_one_line,
    sr_49_failures_beyond_1000_addresses_share_a_line,
    successes_are_a_line_each,
    events_are_found_by_actor_and_by_subject,
    events_are_found_by_action,
    events_are_found_by_time,
    an_export_walks_the_log_oldest_first,
    old_lines_are_pruned,
);
