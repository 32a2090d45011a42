//! What a scrape and the counting of a request cost: `cargo run --release -p portcullis-telemetry --example scrape_cost`.
//! `docs/observability.md` has the results.
#![expect(clippy::print_stdout, reason = "the measurement is the output")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::Method;
use portcullis_telemetry::{Metrics, MetricsOptions};

/// Runs of each measurement; the middle one is printed.
const RUNS: usize = 101;
const REQUESTS: u32 = 1_000_000;
const TABLES: [&str; 8] = ["users", "sessions", "roles", "api_keys", "revocations", "audit_events", "outbox", "jobs"];

fn main() {
    for (routes, statuses) in [(0, 0), (100, 1), (1_000, 1), (1_000, 3)] {
        let metrics = Metrics::new(&MetricsOptions::default(), "bench");
        // About as many statements as a gateway has.
        for table in TABLES {
            for operation in ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"] {
                metrics.database_query(operation, table, Duration::from_millis(1));
            }
        }
        for number in 0..routes {
            let route = metrics.route(&format!("/api/v1/service-{number}/{{*rest}}"));
            for status in &[200, 404, 502][..statuses] {
                route.begin(&Method::GET).finish(*status);
            }
        }
        for openmetrics in [false, true] {
            let (mut bytes, mut lines) = (0, 0);
            let took = median(|| {
                let begun = Instant::now();
                let page = black_box(metrics.page(openmetrics));
                let took = begun.elapsed();
                (bytes, lines) = (page.len(), page.iter().filter(|byte| **byte == b'\n').count());
                took
            });
            let format = if openmetrics { "OpenMetrics" } else { "text" };
            println!(
                "{routes:>5} routes with {statuses} statuses, {format:<11} {took:>10.1?}, {lines} lines, {bytes} bytes"
            );
        }
    }
    for fine in [true, false] {
        let metrics = Metrics::new(&MetricsOptions { fine, ..MetricsOptions::default() }, "bench");
        let route = metrics.route("/api/v1/things/{*rest}");
        let took = median(|| {
            let begun = Instant::now();
            for _ in 0..REQUESTS / 100 {
                black_box(route.begin(&Method::GET)).finish(200);
            }
            begun.elapsed()
        });
        println!("a request is counted in {:.0?}, fine = {fine}", took / (REQUESTS / 100));
    }
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    let mut all: Vec<Duration> = (0..RUNS).map(|_| run()).collect();
    all.sort();
    all[RUNS / 2]
}
