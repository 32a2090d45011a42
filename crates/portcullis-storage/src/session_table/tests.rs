use portcullis_model::{Clock, Random, UserId};
use portcullis_telemetry::MetricsOptions;

use super::*;
use crate::{DatabaseUrl, MigrateMode, StoreOptions};

async fn table(folder: &tempfile::TempDir) -> Arc<SessionTable> {
    let store = Store::open(StoreOptions {
        url: DatabaseUrl::sqlite(folder.path().join("test.db")),
        pool_min: 0,
        pool_max: 2,
        acquire_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(10),
        migrate: MigrateMode::Auto,
        migrate_wait: Duration::from_secs(60),
        app_version: "test".to_owned(),
        notify: false,
        clock: Clock::system(),
        random: Random::system(),
        metrics: Metrics::new(&MetricsOptions::default(), "test"),
    })
    .await
    .expect("a new file opens");
    let table = SessionTable::new(&store, RolePermissions::default(), SessionTableOptions::default());
    table.read_feed().await.expect("the log is readable");
    table
}

fn state(table: &SessionTable) -> SessionState {
    let (clock, random) = (Clock::system(), Random::system());
    let role = portcullis_model::Role::Developer;
    SessionState {
        id: SessionId::new(&clock, &random),
        user_id: UserId::new(&clock, &random),
        role,
        permissions: Arc::clone(table.roles().of(role)),
        email: portcullis_model::Email::parse("ada@example.com").expect("valid"),
        email_verified: false,
        amr: Arc::new(["pwd".to_owned()]),
        authenticated_at: clock.unix_seconds(),
        session_epoch: 1,
        user_epoch: 1,
        token_epoch: 1,
        expires_at: clock.unix_seconds() + 60,
        demo: false,
        api_key: None,
        last_seen: AtomicI64::new(0),
    }
}

/// The same session, read again.
fn again(state: &SessionState) -> SessionState {
    with_roles(state, &RolePermissions::default())
}

#[tokio::test]
async fn a_copy_read_before_the_session_ended_is_never_put_away_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = table(&folder).await;
    let read = state(&table);
    let ended = Revocation { user_id: read.user_id, session_id: Some(read.id), epoch: 2, ends: true };
    table.revoked(&ended);
    let id = read.id;
    assert!(matches!(table.keep(read, &table.roles(), true), Kept::Stale));
    assert!(table.cached(id).is_none());
}

#[tokio::test]
async fn sr_35_a_copy_read_before_a_change_of_the_user_is_never_put_away_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = table(&folder).await;
    let read = state(&table);
    let id = read.id;
    let changed = Revocation { user_id: read.user_id, session_id: None, epoch: 2, ends: false };
    table.revoked(&changed);
    assert!(matches!(table.keep(again(&read), &table.roles(), true), Kept::Stale));
    let newer = SessionState { user_epoch: 2, ..again(&read) };
    assert!(matches!(table.keep(newer, &table.roles(), true), Kept::Fresh(_)));
    assert!(table.cached(id).is_some());
}

#[tokio::test]
async fn sr_35_a_change_of_the_user_makes_every_copy_of_their_sessions_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = table(&folder).await;
    let (first, other) = (state(&table), state(&table));
    let second = SessionState { id: state(&table).id, ..again(&first) };
    let (user_id, first_id, second_id, other_id) = (first.user_id, first.id, second.id, other.id);
    for copy in [first, second, other] {
        assert!(matches!(table.keep(copy, &table.roles(), true), Kept::Fresh(_)));
    }
    table.revoked(&Revocation { user_id, session_id: None, epoch: 2, ends: false });
    assert!(table.cached(first_id).is_none() && table.cached(second_id).is_none());
    assert!(table.cached(other_id).is_some(), "somebody else's session was dropped");
}

#[tokio::test]
async fn a_copy_with_the_roles_of_before_is_not_put_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = table(&folder).await;
    let before = table.roles();
    let read = state(&table);
    table.set_roles(RolePermissions::default());
    assert!(matches!(table.keep(read, &before, true), Kept::Stale));
}

#[tokio::test]
async fn a_table_whose_feed_was_never_read_holds_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let fed = table(&folder).await;
    let unfed = SessionTable::new(&fed.store, RolePermissions::default(), SessionTableOptions::default());
    let read = state(&unfed);
    let id = read.id;
    assert!(matches!(unfed.keep(read, &unfed.roles(), unfed.is_fed()), Kept::Fresh(_)));
    assert!(unfed.cached(id).is_none());
    unfed.read_feed().await.expect("the log is readable");
    assert!(unfed.cached(id).is_none());
}

#[tokio::test]
async fn a_copy_past_its_limit_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = table(&folder).await;
    let read = SessionState { expires_at: Clock::system().unix_seconds(), ..state(&table) };
    let id = read.id;
    table.keep(read, &table.roles(), true);
    assert!(table.cached(id).is_none());
}

#[tokio::test]
async fn old_copies_are_swept_and_young_ones_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = table(&folder).await;
    let read = state(&table);
    let id = read.id;
    table.keep(read, &table.roles(), true);
    table.sweep(Duration::from_secs(600));
    assert!(table.cached(id).is_some());
    table.sweep(Duration::ZERO);
    assert!(table.cached(id).is_none());
}

#[tokio::test]
async fn a_demo_session_is_held_until_it_is_removed_and_its_streams_hear_of_it() {
    struct Heard(Mutex<Vec<Revocation>>);
    impl RevocationListener for Heard {
        fn revoked(&self, revocation: &Revocation) {
            self.0.lock().expect("not poisoned").push(revocation.clone());
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let table = table(&folder).await;
    let heard = Arc::new(Heard(Mutex::default()));
    table.store.subscribe(&heard);
    let demo = SessionState { demo: true, ..state(&table) };
    let id = demo.id;
    table.insert_demo(demo);
    assert!(table.cached(id).is_some());
    assert!(table.load(id, 1).await.expect("no statement").is_some());
    assert!(table.remove_demo(id));
    assert!(!table.remove_demo(id));
    assert!(table.cached(id).is_none());
    let heard = heard.0.lock().expect("not poisoned");
    assert!(heard.len() == 1 && heard[0].session_id == Some(id) && heard[0].ends);
}
