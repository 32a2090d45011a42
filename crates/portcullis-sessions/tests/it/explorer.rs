//! Runs the steps of several actors in every order, against three real replicas on a real PostgreSQL, and checks the
//! invariants of `docs/sessions.md` after each step.

use std::sync::Arc;

use portcullis_model::{Revocation, RevocationListener, SessionId, SessionSource, UserId};
use portcullis_testkit::RawConnection;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use crate::test_database::{RecordingListener, Replica, TestDatabase, end};

/// A step of an actor. The numbers are those of replicas.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A writer ends the session in a transaction that it leaves open. No replica is notified, as when the bus is lost.
    Open,
    Commit,
    /// The writer dies before its commit.
    Crash,
    /// Another replica ends another session, with a later number in the log.
    EndOther,
    /// A client sends a request with the session.
    Request(usize),
    /// A replica reads the log.
    Read(usize),
    /// A replica dies and starts again.
    Restart(usize),
}

use Step::{Commit, Crash, EndOther, Open, Read, Request, Restart};

/// A way to read the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Feed,
    /// A planted fault: a reading asks for the numbers above the highest one that was seen.
    HigherNumbers,
}

struct Node {
    replica: Replica,
    heard: Arc<RecordingListener>,
    /// The highest number that the planted fault has seen.
    highest: i64,
    /// Whether the replica has read the log, or started, after the end of the session was committed.
    must_know: bool,
    /// Whether the replica ran when the end of the session was committed.
    must_hear: bool,
}

struct World {
    database: TestDatabase,
    raw: PgConnection,
    reader: Reader,
    user: UserId,
    nodes: Vec<Node>,
}

/// The session that a schedule is about, and what has happened to it.
struct Run {
    session: SessionId,
    other: SessionId,
    writer: Option<RawConnection>,
    ended: bool,
}

/// Returns every order of the steps of these actors, each of which takes its own steps in their order.
fn schedules(actors: &[&[Step]]) -> Vec<Vec<Step>> {
    if actors.iter().all(|steps| steps.is_empty()) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (n, steps) in actors.iter().enumerate() {
        let Some((first, later)) = steps.split_first() else { continue };
        let mut rest = actors.to_vec();
        rest[n] = later;
        all.extend(schedules(&rest).into_iter().map(|tail| [&[*first][..], &tail].concat()));
    }
    all
}

impl World {
    async fn new(reader: Reader) -> Self {
        let database = TestDatabase::postgres();
        let replica = database.replica().await;
        let user = database.user(&replica.store, "ada").await.id;
        let RawConnection::Postgres(raw) = database.raw().await else { panic!("it is PostgreSQL") };
        let mut world = Self { database, raw, reader, user, nodes: Vec::new() };
        for _ in 0..3 {
            let node = world.start().await;
            world.nodes.push(node);
        }
        world
    }

    async fn start(&mut self) -> Node {
        let replica = self.database.replica().await;
        let heard = RecordingListener::on(&replica.store);
        let highest = sqlx::query("SELECT COALESCE(MAX(seq), 0) FROM revocations").fetch_one(&mut self.raw).await;
        let highest = highest.expect("reads").get(0);
        Node { replica, heard, highest, must_know: false, must_hear: false }
    }

    /// Takes the steps and returns the first violation of an invariant.
    async fn run(&mut self, schedule: &[Step]) -> Result<(), String> {
        let store = self.nodes[1].replica.store.clone();
        let session = self.database.session(&store, self.user).await;
        let other = self.database.session(&store, self.user).await;
        let mut run = Run { session, other, writer: None, ended: false };
        for node in &mut self.nodes {
            node.heard = RecordingListener::on(&node.replica.store);
            (node.must_know, node.must_hear) = (false, false);
        }
        for step in schedule {
            self.take(*step, &mut run).await?;
        }
        for n in 0..self.nodes.len() {
            self.read(n, &run).await?;
            self.request(n, &run).await?;
            let heard = self.nodes[n].heard.recorded();
            let times = heard.iter().filter(|entry| entry.session_id == Some(run.session)).count();
            if times != usize::from(self.nodes[n].must_hear) {
                return Err(format!("replica {n} heard of the end {times} times"));
            }
        }
        Ok(())
    }

    async fn take(&mut self, step: Step, run: &mut Run) -> Result<(), String> {
        match step {
            Open => run.writer = Some(self.open(run.session).await),
            Commit => {
                run.writer.as_mut().expect("is open").run("COMMIT").await;
                run.ended = true;
                self.nodes.iter_mut().for_each(|node| node.must_hear = true);
            }
            Crash => drop(run.writer.take()),
            EndOther => end(&self.nodes[1].replica.store, run.other).await,
            Request(n) => self.request(n, run).await?,
            Read(n) => self.read(n, run).await?,
            Restart(n) => {
                self.nodes[n] = self.start().await;
                self.nodes[n].must_know = run.ended;
            }
        }
        Ok(())
    }

    /// Ends a session in a transaction, as `Tx` does, and leaves it open.
    async fn open(&self, session: SessionId) -> RawConnection {
        let mut writer = self.database.raw().await;
        let (user, session) = (writer.id(self.user.0), writer.id(session.0));
        let text = format!(
            "BEGIN; UPDATE sessions SET ended_at = now(), epoch = epoch + 1 WHERE id = {session}; \
             INSERT INTO revocations (at, user_id, session_id, epoch, ends) \
             VALUES (clock_timestamp(), {user}, {session}, 2, TRUE)"
        );
        writer.run(&text).await;
        writer
    }

    /// A replica that must know of the end accepts no request, and one on which the session lives accepts it.
    async fn request(&mut self, n: usize, run: &Run) -> Result<(), String> {
        let node = &self.nodes[n];
        let cache = &node.replica.cache;
        let accepted = match cache.cached(run.session) {
            Some(_) => true,
            None => cache.load(run.session, 1).await.expect("reads").is_some(),
        };
        match (accepted, node.must_know) {
            (true, true) => Err(format!("replica {n} accepts a session whose end it must know of")),
            (false, _) if !run.ended => Err(format!("replica {n} refuses a session that lives")),
            _ => Ok(()),
        }
    }

    /// After a reading no copy of a session is cached whose end was committed before.
    async fn read(&mut self, n: usize, run: &Run) -> Result<(), String> {
        match self.reader {
            Reader::Feed => self.nodes[n].replica.feed.read().await.expect("reads"),
            Reader::HigherNumbers => self.read_higher_numbers(n).await,
        }
        let node = &mut self.nodes[n];
        node.must_know = run.ended;
        if run.ended && node.replica.cache.cached(run.session).is_some() {
            return Err(format!("replica {n} has a copy after a reading"));
        }
        Ok(())
    }

    async fn read_higher_numbers(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let text = format!(
            "SELECT seq, user_id, session_id, epoch, ends FROM revocations WHERE seq > {} ORDER BY seq",
            node.highest
        );
        for row in sqlx::query(AssertSqlSafe(text)).fetch_all(&mut self.raw).await.expect("reads") {
            node.highest = row.get("seq");
            let entry = Revocation {
                user_id: UserId(row.get("user_id")),
                session_id: row.get::<Option<_>, _>("session_id").map(SessionId),
                epoch: row.get("epoch"),
                ends: row.get("ends"),
            };
            node.replica.cache.revoked(&entry);
            node.heard.revoked(&entry);
        }
    }
}

/// Runs every schedule, and returns the first one that violates an invariant.
async fn explore(reader: Reader, actors: &[&[Step]]) -> Result<usize, String> {
    let schedules = schedules(actors);
    let mut world = World::new(reader).await;
    for schedule in &schedules {
        world.run(schedule).await.map_err(|violation| format!("{violation}: {schedule:?}"))?;
    }
    Ok(schedules.len())
}

const LATE_COMMIT: [&[Step]; 4] = [&[Open, Commit], &[EndOther], &[Read(0), Read(0)], &[Request(0)]];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_64_a_late_commit_is_safe_in_every_order() {
    assert_eq!(explore(Reader::Feed, &LATE_COMMIT).await, Ok(180));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_64_a_restart_is_safe_in_every_order() {
    let actors: [&[Step]; 4] = [&[Open, Commit], &[EndOther], &[Restart(2)], &[Request(2)]];
    assert_eq!(explore(Reader::Feed, &actors).await, Ok(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sr_64_a_writer_that_dies_ends_nothing_in_any_order() {
    let actors: [&[Step]; 4] = [&[Open, Crash], &[EndOther], &[Read(0)], &[Request(0)]];
    assert_eq!(explore(Reader::Feed, &actors).await, Ok(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_explorer_finds_a_planted_fault() {
    let violation = explore(Reader::HigherNumbers, &LATE_COMMIT).await.expect_err("the fault was not found");
    assert!(violation.contains("Open"), "{violation}");
}
