use portcullis_storage::{AuditEvent, Outcome};
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
    let mut tx = store.begin().await.expect("begins");
    tx.append_audit(&whole).await.expect("inserts");
    tx.commit().await.expect("commits");

    let records = store.audit_records(10, 0).await.expect("reads");
    assert_eq!(records.len(), 2);
    let newest = &records[0];
    assert_eq!((newest.action.as_str(), newest.outcome.as_str(), newest.at), ("auth.register", "success", whole.at));
    assert_eq!((newest.actor_id, newest.subject_id, newest.session_id), (Some(ada.id), Some(ada.id), Some(session)));
    assert_eq!((newest.ip.as_deref(), newest.user_agent.as_deref()), (Some("192.0.2.1"), Some("curlforged: line")));
    assert_eq!((newest.request_id.as_deref(), &newest.details), (Some("0123abcd"), &whole.details));
    assert_eq!((records[1].action.as_str(), records[1].outcome.as_str()), ("auth.login", "failure"));
    assert_eq!(store.audit_records(1, 1).await.expect("reads")[0].id, records[1].id);
}

async fn an_event_of_a_change_that_is_rolled_back_is_not_kept(bed: Bed) {
    let store = bed.store().await;
    let mut tx = store.begin().await.expect("begins");
    tx.append_audit(&event(&bed, "auth.register")).await.expect("inserts");
    drop(tx);
    assert!(store.audit_records(10, 0).await.expect("reads").is_empty());
}

crate::on_both_engines!(
    sr_36_events_come_back_newest_first_as_they_were_noted,
    an_event_of_a_change_that_is_rolled_back_is_not_kept,
);
