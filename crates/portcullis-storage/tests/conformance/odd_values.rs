//! No text is an SQL error: whatever it holds, it is stored, found or not found.

use portcullis_model::{Email, ProfileName, Timestamp, Username};
use portcullis_storage::{AuditEvent, AuditFilter, Outcome, ProfileChange, UserFilter};
use serde_json::json;

use crate::test_database::{TestDatabase, commit};

/// Returns texts that users and programs have sent before, and pseudo-random ones from every plane of Unicode.
fn odd_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\0",
        "a\0b",
        "'; DROP TABLE users; --",
        "%",
        "_",
        "!%",
        "\\",
        "\u{feff}",
        "\u{202e}gnp.exe",
        "e\u{301}",
        "\u{1f9ca}",
        "\u{10ffff}",
        "\r\nSet-Cookie: a=b",
        "$1",
        "{text}",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("x".repeat(100_000));
    texts.push("\u{1f9ca}".repeat(10_000));
    texts.push((0..0x20_u8).map(char::from).collect());
    let mut seed = 1_u32;
    for _ in 0..40 {
        let text = (0..64).filter_map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from_u32(seed >> 11)
        });
        texts.push(text.collect());
    }
    texts
}

/// Returns the beginning of a text, for an assertion's message.
fn shown(text: &str) -> String {
    text.chars().take(20).collect()
}

async fn any_text_can_be_searched_for(db: TestDatabase) {
    let store = db.store().await;
    db.user("ada").insert(&store).await;
    for text in odd_texts() {
        let filter = UserFilter { search: Some(text.clone()), ..UserFilter::default() };
        let found = store.list_users(&filter, 10, 0).await;
        assert!(found.is_ok(), "{:?}: {found:?}", shown(&text));
    }
}

async fn any_text_in_an_audit_event_comes_back(db: TestDatabase) {
    let store = db.store().await;
    for text in odd_texts() {
        let event = AuditEvent {
            user_agent: Some(text.clone()),
            details: Some(json!({ "text": text })),
            ..db.event("auth.login", Outcome::Failure)
        };
        store.append_audit(&event).await.unwrap_or_else(|error| panic!("{:?}: {error:?}", shown(&text)));
        let stored = store.audit_page(&AuditFilter::default(), 1, 0).await.expect("reads").records.remove(0);
        assert_eq!(stored.details, event.details, "{:?}", shown(&text));
    }
}

async fn any_valid_address_can_be_looked_up(db: TestDatabase) {
    let store = db.store().await;
    for email in odd_texts().iter().filter_map(|text| Email::parse(&format!("{text}@example.com")).ok()) {
        let found = store.credentials_by_email(&email).await;
        assert!(found.is_ok(), "{:?}: {found:?}", shown(email.as_str()));
    }
}

async fn any_valid_name_can_be_stored(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    for name in odd_texts().iter().filter_map(|text| ProfileName::parse("First name", text).ok()) {
        let change = ProfileChange { first_name: Some(name.clone()), ..ProfileChange::default() };
        let changed = commit(&store, async |tx| tx.update_profile(ada.id, &change, db.now()).await).await;
        assert_eq!(changed.expect("the user exists").first_name, name);
    }
}

async fn instants_far_from_now_come_back(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await;
    for text in ["1970-01-01T00:00:00Z", "2038-01-19T03:14:08Z", "9999-12-31T23:59:59.999999Z"] {
        let at = text.parse::<Timestamp>().expect("an instant");
        let session = db.session(ada.id).ends_at(at).insert(&store).await;
        let record = store.session_record(session.id).await.expect("reads").expect("exists");
        assert_eq!(record.absolute_expires_at, at);
    }
}

portcullis_testkit::on_both_engines!(
    any_text_can_be_searched_for,
    any_text_in_an_audit_event_comes_back,
    any_valid_address_can_be_looked_up,
    any_valid_name_can_be_stored,
    instants_far_from_now_come_back,
);

#[test]
fn a_username_is_ascii() {
    for text in odd_texts() {
        assert!(Username::parse(&text).is_err() || text.is_ascii(), "{:?}", shown(&text));
    }
}
