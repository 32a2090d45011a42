//! An entry of the revocation log is heard however late its transaction commits. Only PostgreSQL has several writers at
//! once, so only there an entry can become visible after later ones.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use portcullis_model::{Revocation, SessionId, SessionSource, UserId};
use portcullis_testkit::{PrivatePostgres, RawConnection, Relay};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::test_database::{RecordingListener, Replica, TestDatabase, end, seconds};

/// Begins a transaction that ends a session, and leaves it open. It names no column of a later schema, as the previous
/// version of the program does not.
async fn begin_end(database: &TestDatabase, user: UserId, session: SessionId) -> RawConnection {
    let mut raw = database.raw().await;
    raw.run("BEGIN").await;
    append(&mut raw, user, session).await;
    raw
}

async fn append(raw: &mut RawConnection, user: UserId, session: SessionId) {
    let (user, session) = (raw.id(user.0), raw.id(session.0));
    raw.run(&format!("UPDATE sessions SET ended_at = now(), epoch = epoch + 1 WHERE id = {session}")).await;
    raw.run(&format!(
        "INSERT INTO revocations (at, user_id, session_id, epoch, ends) \
         VALUES (clock_timestamp(), {user}, {session}, 2, TRUE)"
    ))
    .await;
}

fn sessions(heard: &RecordingListener) -> Vec<SessionId> {
    heard.recorded().iter().filter_map(|entry| entry.session_id).collect()
}

/// Ends other sessions and reads the log, while half an hour passes.
async fn half_an_hour(database: &TestDatabase, here: &Replica, other: &Replica, user: UserId) {
    for _ in 0..6 {
        let session = database.session(&other.store, user).await;
        end(&other.store, session).await;
        here.feed.read().await.expect("reads");
        database.clock.advance(seconds(300));
        here.feed.read().await.expect("reads");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_64_an_entry_that_commits_half_an_hour_late_is_heard() {
    let database = TestDatabase::postgres();
    let (here, other) = (database.replica().await, database.replica().await);
    let ada = database.user(&here.store, "ada").await;
    let late = database.session(&here.store, ada.id).await;
    assert!(here.cache.load(late, 1).await.expect("reads").is_some());
    let heard = RecordingListener::on(&here.store);
    let mut raw = begin_end(&database, ada.id, late).await;
    half_an_hour(&database, &here, &other, ada.id).await;
    assert!(!sessions(&heard).contains(&late), "the test shows nothing");
    raw.run("COMMIT").await;
    here.feed.read().await.expect("reads");
    assert_eq!(sessions(&heard).last(), Some(&late));
    assert!(here.cache.cached(late).is_none());
    here.feed.read().await.expect("reads");
    assert_eq!(sessions(&heard).len(), 7, "an entry was heard twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_64_an_entry_of_a_savepoint_is_heard_late() {
    let database = TestDatabase::postgres();
    let (here, other) = (database.replica().await, database.replica().await);
    let ada = database.user(&here.store, "ada").await;
    let late = database.session(&here.store, ada.id).await;
    let heard = RecordingListener::on(&here.store);
    let mut raw = database.raw().await;
    raw.run("BEGIN; SAVEPOINT inner_transaction").await;
    append(&mut raw, ada.id, late).await;
    raw.run("RELEASE SAVEPOINT inner_transaction").await;
    half_an_hour(&database, &here, &other, ada.id).await;
    raw.run("COMMIT").await;
    here.feed.read().await.expect("reads");
    assert_eq!(sessions(&heard).last(), Some(&late));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_64_a_large_batch_that_commits_late_is_heard_once() {
    let database = TestDatabase::postgres();
    let (here, other) = (database.replica().await, database.replica().await);
    let ada = database.user(&here.store, "ada").await;
    let heard = RecordingListener::on(&here.store);
    let mut raw = database.raw().await;
    let user = raw.id(ada.id.0);
    raw.run(&format!(
        "BEGIN; INSERT INTO revocations (at, user_id, session_id, epoch, ends) \
         SELECT clock_timestamp(), {user}, gen_random_uuid(), 2, TRUE FROM generate_series(1, 5000)"
    ))
    .await;
    half_an_hour(&database, &here, &other, ada.id).await;
    assert_eq!(sessions(&heard).len(), 6);
    raw.run("COMMIT").await;
    for _ in 0..3 {
        here.feed.read().await.expect("reads");
        assert_heard_once(&heard, 5_006);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_64_a_new_feed_hears_what_began_before_it() {
    let database = TestDatabase::postgres();
    let first = database.replica().await;
    let ada = database.user(&first.store, "ada").await;
    let late = database.session(&first.store, ada.id).await;
    let mut raw = begin_end(&database, ada.id, late).await;
    half_an_hour(&database, &first, &first, ada.id).await;
    let new = database.replica().await;
    assert!(new.cache.load(late, 1).await.expect("reads").is_some(), "it has not ended yet");
    assert!(new.cache.cached(late).is_some());
    raw.run("COMMIT").await;
    new.feed.read().await.expect("reads");
    assert!(new.cache.cached(late).is_none());
}

/// Eight writers end sessions through two replicas, and every fourth transaction commits only after later ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_64_under_load_every_entry_is_heard_once() {
    const WRITERS: usize = 8;
    const EACH: usize = 12;
    let database = Arc::new(TestDatabase::postgres());
    let here = database.replica().await;
    let heard = RecordingListener::on(&here.store);
    let stop = CancellationToken::new();
    let following = tokio::spawn(Arc::clone(&here.feed).follow(stop.clone()));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let database = Arc::clone(&database);
        writers.spawn(async move {
            let other = database.replica().await;
            let user = database.user(&other.store, &format!("user{writer}")).await;
            let mut open = Vec::new();
            for n in 0..EACH {
                let session = database.session(&other.store, user.id).await;
                if n.is_multiple_of(4) {
                    open.push(begin_end(&database, user.id, session).await);
                } else {
                    end(&other.store, session).await;
                }
                if open.len() > 1 {
                    open.remove(0).run("COMMIT").await;
                }
            }
            for mut raw in open {
                raw.run("COMMIT").await;
            }
        });
    }
    writers.join_all().await;
    stop.cancel();
    following.await.expect("ends when cancelled");
    here.feed.read().await.expect("reads");
    assert_heard_once(&heard, WRITERS * EACH);
}

/// An operator restores a copy of the database in its place, while a replica goes on. Entries of the copy have numbers
/// that the replica has heard already, and others are from before the replica's beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_64_a_database_that_replaces_another_is_read_anew() {
    let server = PrivatePostgres::shared();
    let url = server.database();
    let name = url.rsplit('/').next().expect("the address ends with the name").to_owned();
    let database = TestDatabase::at(&url);
    let setup = database.replica().await;
    let ada = database.user(&setup.store, "ada").await;
    let kept = database.session(&setup.store, ada.id).await;
    let unheard = database.session(&setup.store, ada.id).await;
    end(&setup.store, unheard).await;
    setup.store.close().await;
    server.run_sql(&format!("CREATE DATABASE {name}_copy TEMPLATE {name}"));

    let here = database.replica().await;
    for _ in 0..3 {
        let session = database.session(&here.store, ada.id).await;
        end(&here.store, session).await;
    }
    assert!(here.cache.load(kept, 1).await.expect("reads").is_some());
    let heard = RecordingListener::on(&here.store);
    server.run_sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"));
    server.run_sql(&format!("ALTER DATABASE {name} RENAME TO {name}_old"));
    server.run_sql(&format!("ALTER DATABASE {name}_copy RENAME TO {name}"));

    while here.feed.read().await.is_err() {}
    assert!(here.cache.cached(kept).is_none(), "a copy of a session from the other database was kept");
    let other = database.replica().await;
    end(&other.store, kept).await;
    here.feed.read().await.expect("reads");
    assert_eq!(sessions(&heard), [unheard, kept], "the log of the new database was not read from its start");
}

/// After a fail-over an address may lead to a standby that has not received everything yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_64_a_standby_is_not_read() {
    let server = PrivatePostgres::start();
    let url = server.database();
    let name = url.rsplit('/').next().expect("the address ends with the name");
    let relay = Relay::to((Ipv4Addr::LOCALHOST, server.port()).into());
    let through = server.url(name).replace(&format!(":{}/", server.port()), &format!(":{}/", relay.port()));
    let database = TestDatabase::at(&through);
    let here = database.replica().await;
    let standby = server.standby();
    relay.redirect_to((Ipv4Addr::LOCALHOST, standby.port()).into());
    relay.disconnect();
    relay.reconnect();
    let error = loop {
        let error = here.feed.read().await.expect_err("a standby was read");
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        // The first error is that of the connection that was lost.
        if source.contains("standby") {
            break source;
        }
    };
    assert!(error.contains("may lag behind its primary"), "{error}");
}

fn assert_heard_once(heard: &RecordingListener, expected: usize) {
    let mut times: HashMap<Option<SessionId>, usize> = HashMap::new();
    for Revocation { session_id, .. } in heard.recorded() {
        *times.entry(session_id).or_default() += 1;
    }
    assert_eq!(times.len(), expected);
    assert!(times.values().all(|times| *times == 1), "an entry was heard twice");
}
