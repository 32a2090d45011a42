//! How often the times of last use are written, and that replicas which write them do not block each other.

use std::sync::atomic::Ordering;

use portcullis_model::{SessionId, SessionSource, UserId};
use portcullis_testkit::RawConnection;
use sqlx::Row as _;
use tokio::task::JoinSet;

use crate::test_database::{Replica, TestDatabase, seconds};

/// Signs a user in this many times.
async fn sessions(database: &TestDatabase, here: &Replica, user: UserId, count: usize) -> Vec<SessionId> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(database.session(&here.store, user).await);
    }
    sessions
}

/// Uses these sessions now.
async fn use_all(database: &TestDatabase, here: &Replica, sessions: &[SessionId]) {
    for id in sessions {
        here.cache.load(*id, 1).await.expect("reads").expect("lives").touch(database.clock.unix_seconds());
    }
}

async fn last_uses_are_written_in_one_statement(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let sessions = sessions(&database, &here, ada.id, 5).await;
    database.clock.advance(seconds(300));
    use_all(&database, &here, &sessions).await;
    let before = here.metrics.database_statements();
    assert_eq!(here.cache.flush_last_seen().await.expect("writes"), 5);
    assert_eq!(here.cache.flush_last_seen().await.expect("has nothing to write"), 0);
    assert_eq!(here.metrics.database_statements() - before, 1);
    for record in here.store.list_sessions(ada.id, database.clock.now()).await.expect("reads") {
        assert!((database.clock.now() - record.last_seen_at).num_seconds() < 60);
    }
}

async fn a_session_used_all_the_time_is_written_twice_in_ten_minutes(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let sessions = sessions(&database, &here, ada.id, 3).await;
    use_all(&database, &here, &sessions).await;
    let before = here.metrics.database_statements();
    let mut written = 0;
    // As the job does, once a minute.
    for _ in 0..10 {
        database.clock.advance(seconds(60));
        for id in &sessions {
            here.cache.cached(*id).expect("is cached").touch(database.clock.unix_seconds());
        }
        written += here.cache.flush_last_seen().await.expect("writes");
    }
    assert_eq!((here.metrics.database_statements() - before, written), (2, 6));
}

async fn the_last_use_of_a_session_that_rests_is_written(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    let used = database.clock.unix_seconds() + 42;
    here.cache.load(session, 1).await.expect("reads").expect("lives").touch(used);
    database.clock.advance(seconds(300));
    assert_eq!(here.cache.flush_last_seen().await.expect("writes nothing"), 0);
    database.clock.advance(seconds(60));
    assert_eq!(here.cache.flush_last_seen().await.expect("writes"), 1);
    let record = here.store.session_record(session).await.expect("reads").expect("exists");
    assert_eq!(record.last_seen_at.timestamp(), used);
}

async fn a_session_that_is_read_again_keeps_its_last_use(database: TestDatabase) {
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let session = database.session(&here.store, ada.id).await;
    let used = database.clock.unix_seconds() + 42;
    here.cache.load(session, 1).await.expect("reads").expect("lives").touch(used);
    let again = here.cache.load(session, 1).await.expect("reads").expect("lives");
    assert_eq!(again.last_seen.load(Ordering::Relaxed), used);
    here.cache.flush_every_last_seen().await.expect("writes");
    let record = here.store.session_record(session).await.expect("reads").expect("exists");
    assert_eq!(record.last_seen_at.timestamp(), used);
}

portcullis_testkit::on_both_engines!(
    last_uses_are_written_in_one_statement,
    a_session_used_all_the_time_is_written_twice_in_ten_minutes,
    the_last_use_of_a_session_that_rests_is_written,
    a_session_that_is_read_again_keeps_its_last_use,
);

/// A row that another transaction holds is left for the next time, and keeps nobody waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_session_is_written_the_next_time() {
    let database = TestDatabase::postgres();
    let here = database.replica().await;
    let ada = database.user(&here.store, "ada").await;
    let sessions = sessions(&database, &here, ada.id, 2).await;
    database.clock.advance(seconds(300));
    use_all(&database, &here, &sessions).await;
    let mut raw = database.raw().await;
    let id = raw.id(sessions[0].0);
    raw.run("BEGIN").await;
    raw.run(&format!("UPDATE sessions SET user_agent = 'locked' WHERE id = {id}")).await;
    assert_eq!(here.cache.flush_last_seen().await.expect("writes"), 1);
    raw.run("COMMIT").await;
    assert_eq!(here.cache.flush_last_seen().await.expect("writes"), 1);
    assert_eq!(here.cache.flush_last_seen().await.expect("has nothing to write"), 0);
}

/// Each of two replicas would hold a row that the other one waits for, once the row that both wait for is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_write_in_opposite_orders_do_not_deadlock() {
    let database = TestDatabase::postgres();
    let (here, there) = (database.replica().await, database.replica().await);
    let ada = database.user(&here.store, "ada").await;
    let ids = sessions(&database, &here, ada.id, 3).await;
    let mut raw = database.raw().await;
    // So many rows that each statement looks its rows up one by one, in the order in which they are given.
    let (user, locked) = (raw.id(ada.id.0), raw.id(ids[1].0));
    raw.run(&format!(
        "INSERT INTO sessions SELECT gen_random_uuid(), {user}, refresh_hash, created_at, last_seen_at, idle_expires_at, \
         absolute_expires_at, remember, transport, ip, user_agent, amr, authenticated_at, epoch, ended_at, end_reason \
         FROM sessions, generate_series(1, 2000) WHERE id = {locked}; ANALYZE sessions; \
         BEGIN; UPDATE sessions SET user_agent = 'locked' WHERE id = {locked}"
    ))
    .await;
    let at = database.clock.now() + seconds(600);
    let up: Vec<_> = ids.iter().map(|id| (*id, at)).collect();
    let down: Vec<_> = ids.iter().rev().map(|id| (*id, at)).collect();
    let mut writing = JoinSet::new();
    writing.spawn(async move { here.store.touch_sessions(&up).await });
    writing.spawn(async move { there.store.touch_sessions(&down).await });
    let RawConnection::Postgres(mut observer) = database.raw().await else { panic!("it is PostgreSQL") };
    let mut outcomes = Vec::new();
    loop {
        while let Some(outcome) = writing.try_join_next() {
            outcomes.push(outcome.expect("no panic"));
        }
        let waiting = "SELECT COUNT(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting: i64 = sqlx::query(waiting).fetch_one(&mut observer).await.expect("reads").get(0);
        if outcomes.len() == 2 || waiting == 2 {
            break;
        }
    }
    raw.run("COMMIT").await;
    while let Some(outcome) = writing.join_next().await {
        outcomes.push(outcome.expect("no panic"));
    }
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}
