//! Lists of users by page, filter and search.

use portcullis_model::Role;
use portcullis_storage::{Store, UserFilter};

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
    (names.join(" "), page.total)
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

crate::on_both_engines!(
    pages_are_newest_first,
    users_are_filtered_by_role,
    users_are_filtered_by_activity,
    a_search_ignores_case,
    wildcards_in_a_search_match_only_themselves,
    users_are_walked_in_the_order_of_ids,
);
