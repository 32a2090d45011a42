//! Lists of users by page, filter and search.

use portcullis_model::Role;
use portcullis_storage::{PageStart, Store, Total, UserFilter};

use crate::test_database::{TestDatabase, seconds};

/// Inserts four users, a second apart; `grace` is an inactive administrator.
async fn four_users(db: &TestDatabase) -> Store {
    let store = db.store().await;
    for name in ["ada", "grace", "edsger", "barbara"] {
        let user = db.user(name);
        let user = if name == "grace" { user.role(Role::Admin).inactive() } else { user };
        user.insert(&store).await;
        db.clock.advance(seconds(1));
    }
    store
}

/// Returns the usernames of a page, and the total.
async fn list(store: &Store, filter: UserFilter, limit: u64, offset: u64) -> (String, u64) {
    let page = store.list_users(&filter, limit, offset).await.expect("reads");
    let names: Vec<String> = page.users.iter().map(|user| user.username.to_string()).collect();
    (names.join(" "), page.total.counted)
}

fn search(text: &str) -> UserFilter {
    UserFilter { search: Some(text.to_owned()), ..UserFilter::default() }
}

async fn pages_are_newest_first(db: TestDatabase) {
    let store = four_users(&db).await;
    assert_eq!(list(&store, UserFilter::default(), 2, 0).await, ("barbara edsger".to_owned(), 4));
    assert_eq!(list(&store, UserFilter::default(), 2, 2).await, ("grace ada".to_owned(), 4));
}

async fn users_are_filtered_by_role(db: TestDatabase) {
    let store = four_users(&db).await;
    let filter = UserFilter { role: Some(Role::Admin), ..UserFilter::default() };
    assert_eq!(list(&store, filter, 10, 0).await, ("grace".to_owned(), 1));
}

async fn users_are_filtered_by_activity(db: TestDatabase) {
    let store = four_users(&db).await;
    let filter = UserFilter { is_active: Some(true), ..UserFilter::default() };
    assert_eq!(list(&store, filter, 10, 0).await, ("barbara edsger ada".to_owned(), 3));
}

async fn a_search_ignores_case(db: TestDatabase) {
    let store = four_users(&db).await;
    assert_eq!(list(&store, search("AD"), 10, 0).await, ("ada".to_owned(), 1));
}

async fn wildcards_in_a_search_match_only_themselves(db: TestDatabase) {
    let store = four_users(&db).await;
    for wildcard in ["%", "_"] {
        assert_eq!(list(&store, search(wildcard), 10, 0).await, (String::new(), 0), "{wildcard}");
    }
}

async fn users_are_walked_in_the_order_of_ids(db: TestDatabase) {
    let store = four_users(&db).await;
    let mut walked = Vec::new();
    loop {
        let last = walked.last().copied();
        let batch = store.credentials_after(last, 3).await.expect("reads");
        if batch.is_empty() {
            break;
        }
        walked.extend(batch.iter().map(|found| found.user.id));
    }
    assert_eq!(walked.len(), 4);
    assert!(walked.is_sorted());
}

async fn a_search_finds_beginnings_and_domains(db: TestDatabase) {
    let store = four_users(&db).await;
    let other = db.user("ben").email("ada.b@Example.ORG").insert(&store).await;
    for (text, found) in [
        ("ada", "ben ada"),
        (" Barbara@exam", "barbara"),
        ("rbara", ""),
        ("@example.o", "ben"),
        ("@example.", "ben barbara edsger grace ada"),
        ("\u{10ffff}", ""),
    ] {
        assert_eq!(list(&store, search(text), 10, 0).await.0, found, "{text}");
    }
    let filter = UserFilter { role: Some(other.role), is_active: Some(true), ..search("ada") };
    assert_eq!(list(&store, filter, 1, 1).await, ("ada".to_owned(), 2));
}

async fn a_cursor_continues_a_list(db: TestDatabase) {
    let store = four_users(&db).await;
    for filter in
        [UserFilter::default(), UserFilter { role: Some(Role::Developer), ..UserFilter::default() }, search("@")]
    {
        let whole = store.list_users(&filter, 10, 0).await.expect("reads");
        assert!(!whole.has_more);
        let (mut walked, mut start) = (Vec::new(), PageStart::Offset(0));
        loop {
            let page = store.users_from(&filter, 1, start).await.expect("reads");
            assert_eq!(page.total, whole.total);
            walked.extend(page.users);
            let last = walked.last().expect("there are users");
            start = PageStart::After(last.created_at, last.id.0);
            if !page.has_more {
                break;
            }
        }
        assert_eq!(walked, whole.users, "{filter:?}");
    }
}

async fn the_total_of_a_list_has_a_bound(db: TestDatabase) {
    let store = db.store().await;
    let is_sqlite = store.engine() == "sqlite";
    let at = db.now().to_rfc3339();
    let numbers = "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < 100001)";
    let (uuid, at) = if is_sqlite {
        ("randomblob(16)", format!("'{at}'"))
    } else {
        ("gen_random_uuid()", format!("CAST('{at}' AS TIMESTAMPTZ)"))
    };
    let rows = format!(
        "INSERT INTO audit_log (id, at, action, outcome) {numbers} SELECT {uuid}, {at}, 'a', 'success' FROM numbers"
    );
    db.raw().await.run(&rows).await;
    let filter = portcullis_storage::AuditFilter::default();
    let page = store.audit_page(&filter, 1, 0).await.expect("reads");
    assert_eq!(page.total, Total { counted: 100_000, is_capped: true });
    let last = &page.records[0];
    let next = store.audit_from(&filter, 1, PageStart::After(last.at, last.id)).await.expect("reads");
    assert!(next.has_more && next.records[0].id < last.id);
}

portcullis_testkit::on_both_engines!(
    a_search_finds_beginnings_and_domains,
    a_cursor_continues_a_list,
    the_total_of_a_list_has_a_bound,
    pages_are_newest_first,
    users_are_filtered_by_role,
    users_are_filtered_by_activity,
    a_search_ignores_case,
    wildcards_in_a_search_match_only_themselves,
    users_are_walked_in_the_order_of_ids,
);
