//! The statements of a refresh through the bare driver, on one connection: `refresh_statements URL [refreshes]`. Prints
//! the CPU that this process spends on one, in microseconds, to hold the whole server's against.

use chrono::Duration;
use portcullis_model::{Clock, Random};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};
use uuid::Uuid;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the first argument is an address");
    let refreshes: u32 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5_000);
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    let row = sqlx::query("SELECT id, refresh_hash FROM sessions WHERE ended_at IS NULL ORDER BY created_at LIMIT 1");
    let row = row.fetch_one(&mut connection).await.expect("there is a session");
    let (id, mut hash): (Uuid, Vec<u8>) = (row.get(0), row.get(1));
    for _ in 0..refreshes / 10 {
        hash = refresh(&mut connection, id, hash).await;
    }
    let before = cpu();
    for _ in 0..refreshes {
        hash = refresh(&mut connection, id, hash).await;
    }
    let each = (cpu() - before) / f64::from(refreshes) * 1e6;
    #[expect(clippy::print_stdout, reason = "its output is its purpose")]
    {
        println!("{each:.1}");
    }
}

async fn refresh(on: &mut PgConnection, id: Uuid, hash: Vec<u8>) -> Vec<u8> {
    let read = "SELECT s.id, s.user_id, s.created_at, s.last_seen_at, s.idle_expires_at, s.absolute_expires_at, s.remember, \
        s.transport, s.ip, s.user_agent, s.amr, s.authenticated_at, s.epoch, s.ended_at, s.end_reason, s.refresh_hash, \
        u.id AS owner, u.email, u.username, u.first_name, u.last_name, u.avatar, u.role, u.is_active, u.email_verified_at, \
        u.last_login_at, u.created_at AS made, u.updated_at, u.epoch AS user_epoch, u.token_epoch, clock_timestamp() AS now \
        FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1";
    sqlx::query(read).bind(id).fetch_one(&mut *on).await.expect("reads");
    let (now, random) = (Clock::system().now(), Random::system());
    let next = random.bytes::<32>().to_vec();
    on.execute("BEGIN").await.expect("begins");
    let swap = "UPDATE sessions SET refresh_hash = $3, idle_expires_at = $4, last_seen_at = $5 \
        WHERE id = $1 AND refresh_hash = $2 AND ended_at IS NULL AND idle_expires_at > $5 AND absolute_expires_at > $5";
    let swap = sqlx::query(swap).bind(id).bind(&hash).bind(&next).bind(now + Duration::days(7)).bind(now);
    assert_eq!(swap.execute(&mut *on).await.expect("updates").rows_affected(), 1);
    let keep =
        "INSERT INTO refresh_grace (token_hash, session_id, sealed_successor, rotated_at) VALUES ($1, $2, $3, $4)";
    let keep = sqlx::query(keep).bind(&hash).bind(id).bind(vec![7_u8; 72]).bind(now);
    keep.execute(&mut *on).await.expect("inserts");
    let note = "INSERT INTO audit_log (id, at, action, outcome, actor_id, subject_id, session_id, ip, user_agent, request_id, \
        details) VALUES ($1, $2, 'auth.refresh', 'success', $3, $3, $4, '192.0.2.1', 'Mozilla/5.0', NULL, NULL)";
    let note = sqlx::query(note).bind(Uuid::from_bytes(random.bytes())).bind(now).bind(id).bind(id);
    note.execute(&mut *on).await.expect("inserts");
    on.execute("COMMIT").await.expect("commits");
    next
}

/// Seconds of CPU of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("Linux accounts for it");
    stat.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).map_or(0.0, |nanos| nanos / 1e9)
}
