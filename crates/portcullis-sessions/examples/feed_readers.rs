//! How soon many replicas hear of a revocation, and what they cost the database: `feed_readers URL READERS REVOCATIONS
//! (notify|none)`. Each reader is a replica's store, session cache and revocation feed. `bench/storage_scale.py` runs it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_model::{Clock, Random, Revocation, RevocationListener, RolePermissions, SessionId};
use portcullis_sessions::{RevocationFeed, SessionCache, SessionCacheOptions};
use portcullis_storage::{DatabaseUrl, EndReason, Store, StoreOptions};
use portcullis_telemetry::{Metrics, MetricsOptions};
use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The name of the readers' connections, by which their processes are found.
const READERS: &str = "feed_readers";
/// How long the readers are watched while nothing is revoked.
const QUIET: Duration = Duration::from_secs(20);
/// The pause after each revocation.
const PAUSE: Duration = Duration::from_millis(50);

/// When each session was ended: the moment before the commit.
type Ended = Arc<Mutex<HashMap<SessionId, Instant>>>;

/// A reader's listener, which reports how late it heard of a revocation.
struct Lag {
    ended: Ended,
    heard: mpsc::UnboundedSender<Duration>,
}

impl RevocationListener for Lag {
    fn revoked(&self, revocation: &Revocation) {
        let ended = self.ended.lock().expect("not poisoned");
        if let Some(at) = revocation.session_id.and_then(|session| ended.get(&session)) {
            let _ = self.heard.send(at.elapsed());
        }
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, readers, revocations, bus] = &arguments[..] else { panic!("URL READERS REVOCATIONS (notify|none)") };
    let (readers, revocations): (usize, usize) =
        (readers.parse().expect("a number"), revocations.parse().expect("a number"));
    let notify = bus == "notify";
    let mut watch = PgConnection::connect(url).await.expect("connects");
    let (ended, stop) = (Ended::default(), CancellationToken::new());
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let listener = Arc::new(Lag { ended: Arc::clone(&ended), heard });
    let mut following = Vec::new();
    for _ in 0..readers {
        let store = open(&format!("{url}?application_name={READERS}"), notify).await;
        let cache = SessionCache::new(&store, RolePermissions::default(), SessionCacheOptions::default());
        let feed = RevocationFeed::new(&store, &cache);
        feed.read().await.expect("reads");
        store.subscribe(&listener);
        following.push(tokio::spawn(Arc::clone(&feed).follow(stop.clone())));
        following.push(tokio::spawn(store.listen(move || feed.notify(), stop.clone())));
        // Replicas do not start at the same moment either.
        tokio::time::sleep(Duration::from_millis(17)).await;
    }
    let sql = "SELECT id FROM sessions WHERE ended_at IS NULL LIMIT $1";
    let live = sqlx::query_scalar::<_, Uuid>(sql).bind(i64::try_from(revocations).expect("not so many"));
    let live = live.fetch_all(&mut watch).await.expect("reads");

    let quiet = cpu_of_readers(&mut watch).await;
    tokio::time::sleep(QUIET).await;
    let quiet = cpu_of_readers(&mut watch).await - quiet;

    let writer = open(url, notify).await;
    let (begun, busy) = (Instant::now(), cpu_of_readers(&mut watch).await);
    let mut lags = Vec::with_capacity(live.len() * readers);
    let mut commits = Vec::with_capacity(live.len());
    for id in &live {
        let session = SessionId(*id);
        let mut tx = writer.begin().await.expect("begins");
        assert!(tx.end_session(session, EndReason::Logout, writer.clock().now()).await.expect("ends"));
        let begun = Instant::now();
        ended.lock().expect("not poisoned").insert(session, begun);
        tx.commit().await.expect("commits");
        commits.push(begun.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    while lags.len() < live.len() * readers {
        let next = tokio::time::timeout(Duration::from_secs(30), hearing.recv()).await;
        lags.push(next.expect("every reader hears of every revocation").expect("the listener is there"));
    }
    let busy_for = begun.elapsed();
    let busy = cpu_of_readers(&mut watch).await - busy;
    stop.cancel();
    for task in following {
        task.await.expect("ends when cancelled");
    }
    let (lag, commit) = (percentiles(lags), percentiles(commits));
    out(&format!(
        "{:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} % | {:.1} %\n",
        commit[0],
        commit[1],
        lag[0],
        lag[1],
        lag[2],
        quiet / QUIET.as_secs_f64() * 100.0,
        busy / busy_for.as_secs_f64() * 100.0
    ));
}

/// Returns the median, the 99th percentile and the longest, in milliseconds.
fn percentiles(mut took: Vec<Duration>) -> [f64; 3] {
    took.sort();
    [50, 99, 100].map(|share| took[(took.len() - 1) * share / 100].as_secs_f64() * 1e3)
}

async fn open(url: &str, notify: bool) -> Store {
    let url = DatabaseUrl::parse(url).expect("an address");
    let metrics = Metrics::new(&MetricsOptions::default(), "bench");
    let defaults = StoreOptions::new(url, Clock::system(), Random::system(), metrics);
    Store::open(StoreOptions { pool_min: 0, pool_max: 1, notify, ..defaults }).await.expect("opens")
}

/// Seconds of CPU of the server's processes that serve the readers.
async fn cpu_of_readers(watch: &mut PgConnection) -> f64 {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = $1";
    let pids = sqlx::query_scalar::<_, i32>(sql).bind(READERS).fetch_all(watch).await.expect("reads");
    let nanos = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("Linux accounts for it");
        stat.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0)
    };
    pids.iter().map(nanos).sum::<f64>() / 1e9
}

#[expect(clippy::print_stdout, reason = "its output is its purpose")]
fn out(text: &str) {
    print!("{text}");
}
