use portcullis_storage::{AuditEvent, AuditFilter, Outcome, Prunable};
use serde_json::json;

use crate::bed::{Bed, seconds};

fn event(bed: &Bed, action: &'static str) -> AuditEvent {
    AuditEvent {
        at: bed.clock.now(),
        action,
        outcome: Outcome::Failure,
        actor_id: None,
        subject_id: None,
        session_id: None,
        ip: None,
        user_agent: None,
        request_id: None,
        details: None,
    }
}

async fn sr_36_events_come_back_newest_first_as_they_were_noted(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    let session = bed.session(ada.id).id;
    store.append_audit(&event(&bed, "auth.login")).await.expect("inserts");
    bed.clock.advance(seconds(1));
    let whole = AuditEvent {
        outcome: Outcome::Success,
        actor_id: Some(ada.id),
        subject_id: Some(ada.id),
        session_id: Some(session),
        ip: Some("192.0.2.1".parse().expect("an address")),
        user_agent: Some("curl\r\nforged: line\0".to_owned()),
        request_id: Some("0123abcd".to_owned()),
        details: Some(json!({"amr": ["pwd"]})),
        ..event(&bed, "auth.register")
    };
    let tx = store.begin().await.expect("begins");
    tx.append_audit(&whole).await.expect("inserts");
    tx.commit().await.expect("commits");

    let records = store.audit_page(&AuditFilter::default(), 10, 0).await.expect("reads").records;
    assert_eq!(records.len(), 2);
    let newest = &records[0];
    assert_eq!((newest.action.as_str(), newest.outcome.as_str(), newest.at), ("auth.register", "success", whole.at));
    assert_eq!((newest.actor_id, newest.subject_id, newest.session_id), (Some(ada.id), Some(ada.id), Some(session)));
    assert_eq!((newest.ip.as_deref(), newest.user_agent.as_deref()), (Some("192.0.2.1"), Some("curlforged: line")));
    assert_eq!((newest.request_id.as_deref(), &newest.details), (Some("0123abcd"), &whole.details));
    assert_eq!((records[1].action.as_str(), records[1].outcome.as_str()), ("auth.login", "failure"));
    assert_eq!(store.audit_page(&AuditFilter::default(), 1, 1).await.expect("reads").records[0].id, records[1].id);
}

async fn an_event_of_a_change_that_is_rolled_back_is_not_kept(bed: Bed) {
    let store = bed.store().await;
    let tx = store.begin().await.expect("begins");
    tx.append_audit(&event(&bed, "auth.register")).await.expect("inserts");
    drop(tx);
    assert!(store.audit_page(&AuditFilter::default(), 10, 0).await.expect("reads").records.is_empty());
}

async fn sr_49_a_flood_of_failures_is_one_line_a_minute_and_hides_no_account(bed: Bed) {
    let store = bed.store().await;
    let (ada, ben) = (bed.someone(&store, "ada").await, bed.someone(&store, "ben").await);
    // The clock of a test stands; a minute's beginning is as good as any.
    let from = |n: u32, subject| AuditEvent {
        ip: Some(std::net::Ipv4Addr::from(0x0a00_0000 + n).into()),
        subject_id: Some(subject),
        details: Some(json!({"reason": "wrong password"})),
        ..event(&bed, "auth.login")
    };
    for _ in 0..5 {
        store.append_audit(&from(1, ada.id)).await.expect("inserts");
    }
    store.append_audit(&from(1, ben.id)).await.expect("inserts");
    let lines = store.audit_page(&AuditFilter::default(), 10, 0).await.expect("reads");
    assert_eq!(lines.total, 2);
    let of = |user| lines.records.iter().find(|line| line.subject_id == Some(user)).expect("is there");
    assert_eq!((of(ada.id).times, of(ben.id).times, of(ben.id).last_at), (5, 1, None));
    assert!(of(ada.id).last_at.is_some());

    // Beyond a thousand addresses the lines speak of no address, and still of whom it concerned.
    for n in 0..1_010 {
        store.append_audit(&from(n, ada.id)).await.expect("inserts");
    }
    let lines = store.audit_page(&AuditFilter { user: Some(ada.id), ..AuditFilter::default() }, 2_000, 0).await;
    let lines = lines.expect("reads").records;
    let crowd: Vec<_> = lines.iter().filter(|line| line.ip.is_none()).collect();
    assert_eq!((lines.len(), crowd.len(), crowd[0].times), (1_001, 1, 10));

    // What went well is a line each.
    for _ in 0..2 {
        let success = AuditEvent { outcome: Outcome::Success, ..from(1, ben.id) };
        store.append_audit(&success).await.expect("inserts");
    }
    let filter = AuditFilter { outcome: Some(Outcome::Success), ..AuditFilter::default() };
    assert_eq!(store.audit_page(&filter, 10, 0).await.expect("reads").total, 2);
}

async fn the_log_is_searched_by_person_action_and_time(bed: Bed) {
    let store = bed.store().await;
    let (ada, ben) = (bed.someone(&store, "ada").await, bed.someone(&store, "ben").await);
    let begun = bed.clock.now();
    for (action, actor, subject) in
        [("auth.login", ada.id, ada.id), ("user.edit", ada.id, ben.id), ("auth.login", ben.id, ben.id)]
    {
        let event = AuditEvent {
            outcome: Outcome::Success,
            actor_id: Some(actor),
            subject_id: Some(subject),
            ..event(&bed, action)
        };
        store.append_audit(&event).await.expect("inserts");
        bed.clock.advance(seconds(10));
    }
    let count = async |filter: AuditFilter| store.audit_page(&filter, 10, 0).await.expect("reads").total;
    let all = AuditFilter::default();
    assert_eq!(count(AuditFilter { user: Some(ben.id), ..all.clone() }).await, 2, "what others did to ben too");
    assert_eq!(count(AuditFilter { user: Some(ada.id), ..all.clone() }).await, 2);
    assert_eq!(count(AuditFilter { action: Some("user.edit".to_owned()), ..all.clone() }).await, 1);
    assert_eq!(count(AuditFilter { action: Some("\0".to_owned()), ..all.clone() }).await, 0);
    let (from, to) = (Some(begun + seconds(5)), Some(begun + seconds(20)));
    assert_eq!(count(AuditFilter { from, to, ..all.clone() }).await, 1, "from and before");

    // Oldest first, a few at a time, each once.
    let mut walked = Vec::new();
    loop {
        let last = walked.last().map(|line: &portcullis_storage::AuditRecord| (line.at, line.id));
        let batch = store.audit_after(&all, last, 2).await.expect("reads");
        if batch.is_empty() {
            break;
        }
        walked.extend(batch);
    }
    let actions: Vec<&str> = walked.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(actions, ["auth.login", "user.edit", "auth.login"]);
    assert_eq!(store.prune(Prunable::AuditLog, begun + seconds(5), 10).await.expect("deletes"), 1);
    assert_eq!(count(all).await, 2);
}

crate::on_both_engines!(
    sr_49_a_flood_of_failures_is_one_line_a_minute_and_hides_no_account,
    the_log_is_searched_by_person_action_and_time,
    sr_36_events_come_back_newest_first_as_they_were_noted,
    an_event_of_a_change_that_is_rolled_back_is_not_kept,
);
