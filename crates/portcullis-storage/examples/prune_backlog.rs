//! How long the batches take that delete a backlog: `prune_backlog URL (sessions|audit_log) BEFORE`, where BEFORE is a
//! time in RFC 3339. `bench/storage_scale.py` runs it.

use std::time::Instant;

use portcullis_model::{Clock, Random, Timestamp};
use portcullis_storage::{DatabaseUrl, Prunable, Store, StoreOptions};
use portcullis_telemetry::{Metrics, MetricsOptions};

/// Rows that a batch of housekeeping deletes.
const BATCH: u64 = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, what, before] = &arguments[..] else { panic!("URL (sessions|audit_log) BEFORE") };
    let what = match what.as_str() {
        "sessions" => Prunable::Sessions,
        "audit_log" => Prunable::AuditLog,
        other => panic!("nothing is called {other}"),
    };
    let before: Timestamp = before.parse().expect("a time in RFC 3339");
    let url = DatabaseUrl::parse(url).expect("an address");
    let metrics = Metrics::new(&MetricsOptions::default(), "bench");
    let store = Store::open(StoreOptions::new(url, Clock::system(), Random::system(), metrics)).await.expect("opens");
    let (mut took, mut deleted) = (Vec::new(), 0);
    loop {
        let begun = Instant::now();
        let rows = store.prune(what, before, BATCH).await.expect("deletes");
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        deleted += rows;
        if rows < BATCH {
            break;
        }
    }
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    let total: f64 = took.iter().sum();
    out(&format!("{deleted} {} {:.2} {:.2} {:.1}\n", took.len(), at(50), at(99), total / 1e3));
}

#[expect(clippy::print_stdout, reason = "its output is its purpose")]
fn out(text: &str) {
    print!("{text}");
}
