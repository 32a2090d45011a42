//! Whatever a text holds, it is stored, found or not found: never an error of SQL.

use portcullis_model::{Email, ProfileName, Timestamp, Username};
use portcullis_storage::{AuditEvent, AuditFilter, Outcome, ProfileChange, UserFilter};

use crate::bed::Bed;

/// What people and programs have sent before.
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
    // Every control character, and pseudo-random ones from every plane.
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

async fn no_text_is_an_error_of_sql(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    for text in odd_texts() {
        let shown: String = text.chars().take(20).collect();
        let filter = UserFilter { search: Some(text.clone()), ..UserFilter::default() };
        store.list_users(&filter, 10, 0).await.unwrap_or_else(|error| panic!("search {shown:?}: {error:?}"));
        let event = AuditEvent {
            at: bed.clock.now(),
            action: "auth.login",
            outcome: Outcome::Failure,
            actor_id: None,
            subject_id: None,
            session_id: None,
            ip: None,
            user_agent: Some(text.clone()),
            request_id: None,
            details: Some(serde_json::json!({ "said": text })),
        };
        store.append_audit(&event).await.unwrap_or_else(|error| panic!("audit {shown:?}: {error:?}"));
        let noted = store.audit_page(&AuditFilter::default(), 1, 0).await.expect("reads").records.remove(0);
        assert_eq!(noted.details, Some(serde_json::json!({ "said": text })), "{shown:?}");
        if let Ok(email) = Email::parse(&format!("{text}@example.com")) {
            store.credentials_by_email(&email).await.unwrap_or_else(|error| panic!("e-mail {shown:?}: {error:?}"));
        }
        let mut tx = store.begin().await.expect("begins");
        let name = ProfileName::parse("First name", &text).ok();
        let change = ProfileChange { first_name: name, ..ProfileChange::default() };
        tx.update_profile(ada.id, &change, bed.clock.now())
            .await
            .unwrap_or_else(|error| panic!("name {shown:?}: {error:?}"));
        tx.commit().await.expect("commits");
        assert!(Username::parse(&text).is_err() || text.is_ascii(), "{shown:?}");
    }
}

async fn instants_far_from_now_are_stored_and_come_back(bed: Bed) {
    let store = bed.store().await;
    let ada = bed.someone(&store, "ada").await;
    for text in ["1970-01-01T00:00:00Z", "2038-01-19T03:14:08Z", "9999-12-31T23:59:59.999999Z"] {
        let at = text.parse::<Timestamp>().expect("an instant");
        let mut session = bed.session(ada.id);
        session.absolute_expires_at = at;
        session.idle_expires_at = at;
        let mut tx = store.begin().await.expect("begins");
        tx.insert_session(&session).await.expect("is stored");
        tx.commit().await.expect("commits");
        let record = store.session_record(session.id).await.expect("reads").expect("exists");
        assert_eq!(record.absolute_expires_at, at);
    }
}

crate::on_both_engines!(no_text_is_an_error_of_sql, instants_far_from_now_are_stored_and_come_back);
