//! However many sessions somebody has made, listing and ending them costs the same (SR-52).

use portcullis_model::{SecretString, SessionId, UserId};
use portcullis_storage::{EndReason, Store};

use crate::builders::PASSWORD_HASH;
use crate::test_database::{RecordingListener, TestDatabase, commit, days, seconds};

/// More sessions than a statement can change within [`TIMEOUT`].
const MANY: u64 = 500_000;
/// The limit of a statement in these tests, in seconds.
const TIMEOUT: u64 = 1;

/// Returns a store whose statements may take [`TIMEOUT`], and the user `ada`, who has [`MANY`] sessions.
async fn with_many_sessions(db: &TestDatabase) -> (Store, UserId) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let is_sqlite = store.engine() == "sqlite";
    store.close().await;
    insert_sessions(db, ada, is_sqlite).await;
    let (mut options, _) = db.options();
    options.statement_timeout = seconds(TIMEOUT);
    (Store::open(options).await.expect("opens"), ada)
}

async fn insert_sessions(db: &TestDatabase, user: UserId, is_sqlite: bool) {
    let hex = user.0.simple().to_string();
    let (user, uuid, hash, yes, numbers) = if is_sqlite {
        let numbers = format!(
            "(WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {MANY}) \
             SELECT i FROM numbers) AS numbers"
        );
        (format!("x'{hex}'"), "randomblob(16)", "x'00'", "1", numbers)
    } else {
        let numbers = format!("generate_series(1, {MANY}) AS numbers (i)");
        (format!("CAST('{hex}' AS UUID)"), "gen_random_uuid()", "CAST('x' AS BYTEA)", "TRUE", numbers)
    };
    let (now, soon) = (db.now().to_rfc3339(), (db.now() + days(7)).to_rfc3339());
    let cast = |time: &str| if is_sqlite { format!("'{time}'") } else { format!("CAST('{time}' AS TIMESTAMPTZ)") };
    let (now, soon) = (cast(&now), cast(&soon));
    db.raw()
        .await
        .run(&format!(
            "INSERT INTO sessions (id, user_id, refresh_hash, created_at, last_seen_at, idle_expires_at, \
             absolute_expires_at, remember, transport, amr, authenticated_at, epoch) SELECT {uuid}, {user}, {hash}, {now}, \
             {now}, {soon}, {soon}, {yes}, 'token', '[\"pwd\"]', {now}, 1 FROM {numbers}"
        ))
        .await;
}

/// Returns the ids of the sessions that the list shows.
async fn listed(store: &Store, user: UserId, db: &TestDatabase) -> Vec<SessionId> {
    let list = store.list_sessions(user, db.now()).await.expect("reads");
    list.into_iter().map(|session| session.id).collect()
}

async fn sr_52_half_a_million_sessions_end_within_a_statement(db: TestDatabase) {
    let (store, ada) = with_many_sessions(&db).await;
    let some = listed(&store, ada, &db).await;
    assert_eq!(some.len(), 1_000, "a list has a bound");
    db.clock.advance(seconds(1));

    let kept = db.session(ada).insert(&store).await.id;
    let reason = EndReason::PasswordChanged;
    commit(&store, async |tx| tx.end_sessions_of(ada, Some(kept), reason, db.now()).await).await;
    assert_eq!(listed(&store, ada, &db).await, [kept]);
    assert!(store.session_copy(kept).await.expect("reads").is_some());
    for ended in &some {
        assert!(store.session_copy(*ended).await.expect("reads").is_none());
        assert!(store.refresh_view(*ended).await.expect("reads").is_none());
    }

    let listener = RecordingListener::on(&store);
    commit(&store, async |tx| tx.end_sessions_of(ada, None, EndReason::LogoutAll, db.now()).await).await;
    assert!(store.session_copy(kept).await.expect("reads").is_none());
    let told: Vec<_> = listener.revocations().iter().map(|entry| (entry.session_id, entry.ends)).collect();
    assert_eq!(told, [(None, true)], "one entry ends all sessions and their streams");

    let hash = SecretString::new(PASSWORD_HASH);
    assert!(commit(&store, async |tx| tx.reset_password_hash(ada, &hash, db.now()).await).await);
    assert!(commit(&store, async |tx| tx.set_active(ada, false, db.now()).await).await);
    assert!(commit(&store, async |tx| tx.recover_admin(ada, &hash, db.now()).await).await);
    assert!(listed(&store, ada, &db).await.is_empty());

    // Jobs take as many batches as there are.
    let (limited, store) = (store, db.store().await);
    while store.end_left_sessions(10_000, db.now()).await.expect("ends") {}
    let mut raw = db.raw().await;
    assert_eq!(raw.number("SELECT count(*) FROM sessions WHERE ended_at IS NULL").await, 0);
    assert_eq!(raw.number("SELECT CAST(max(session_epoch) AS BIGINT) FROM users").await, 0);

    assert!(commit(&limited, async |tx| tx.delete_user(ada).await).await);
    assert!(!commit(&limited, async |tx| tx.delete_user(ada).await).await, "it is deleted already");
    assert_eq!(store.user_by_id(ada).await.expect("reads"), None);
    assert_eq!(store.list_users(&Default::default(), 10, 0).await.expect("reads").total.counted, 0);
    db.user("ada").insert(&store).await;
    while store.finish_deletions(10_000).await.expect("deletes") {}
    assert_eq!(raw.number("SELECT count(*) FROM sessions").await, 0);
    assert_eq!(raw.number("SELECT count(*) FROM users").await, 1);
}

async fn sr_52_a_sign_in_ends_what_exceeds_the_limit(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let expired = db.session(ada).idle_for(seconds(1)).insert(&store).await.id;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        db.clock.advance(seconds(2));
        sessions.push(db.session(ada).insert(&store).await.id);
    }
    store.touch_sessions(&[(sessions[0], db.now() + seconds(1))]).await.expect("writes");
    let listener = RecordingListener::on(&store);
    let newest = db.session(ada).build();
    let ended = commit(&store, async |tx| {
        tx.insert_session(&newest).await?;
        tx.end_sessions_beyond(ada, 3, newest.id, db.now()).await
    })
    .await;
    assert_eq!(ended, 2);
    let told: Vec<_> = listener.revocations().iter().filter_map(|entry| entry.session_id).collect();
    assert_eq!(told.len(), 2);
    assert!(told.contains(&expired) && told.contains(&sessions[1]), "the least recently used one ends");
    let record = store.session_record(sessions[1]).await.expect("reads").expect("exists");
    assert_eq!(record.end_reason.as_deref(), Some("session_limit"));
    let mut live = listed(&store, ada, &db).await;
    live.sort();
    let mut expected = vec![sessions[0], sessions[2], newest.id];
    expected.sort();
    assert_eq!(live, expected);
}

async fn sr_52_concurrent_sign_ins_keep_to_the_limit(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let mut races = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (store, now, session) = (store.clone(), db.now(), db.session(ada).build());
        races.spawn(async move {
            commit(&store, async |tx| {
                tx.insert_session(&session).await?;
                assert!(tx.record_login(ada, 1, now).await?);
                tx.end_sessions_beyond(ada, 3, session.id, now).await
            })
            .await
        });
    }
    races.join_all().await;
    assert_eq!(listed(&store, ada, &db).await.len(), 3);
}

async fn a_rotation_after_the_end_of_all_sessions_fails(db: TestDatabase) {
    let store = db.store().await;
    let ada = db.user("ada").insert(&store).await.id;
    let session = db.session(ada).insert(&store).await;
    db.raw().await.run("UPDATE users SET session_epoch = 2, epoch = 2").await;
    let rotation = portcullis_storage::Rotation {
        session_id: session.id,
        presented_hash: session.refresh_hash,
        new_hash: db.random_hash(),
        sealed_successor: b"sealed",
        now: db.now(),
        idle_expires_at: db.now() + seconds(600),
    };
    assert!(!commit(&store, async |tx| tx.rotate_refresh(&rotation).await).await);
}

portcullis_testkit::on_both_engines!(
    sr_52_half_a_million_sessions_end_within_a_statement,
    sr_52_a_sign_in_ends_what_exceeds_the_limit,
    sr_52_concurrent_sign_ins_keep_to_the_limit,
    a_rotation_after_the_end_of_all_sessions_fails,
);
