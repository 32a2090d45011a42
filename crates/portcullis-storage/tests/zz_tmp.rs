use std::time::{Duration, Instant};
use portcullis_model::*;
use portcullis_storage::*;
use portcullis_telemetry::*;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timing() {
    for url in [DatabaseUrl::sqlite("/tmp/zz-timing.db"), DatabaseUrl::parse(&portcullis_testkit::PrivatePostgres::shared().database()).unwrap()] {
    let _keep = portcullis_testkit::PrivatePostgres::shared();
    let opts = || StoreOptions { url: url.clone(), pool_min: 0, pool_max: 4, acquire_timeout: Duration::from_secs(5), clock: Clock::system(), random: Random::system(), metrics: Metrics::new(&MetricsOptions::default(), "t") };
    for _ in 0..3 { let t = Instant::now(); let s = Store::open(opts()).await.unwrap(); println!("open {:?}", t.elapsed()); let t = Instant::now(); s.ping().await.unwrap(); println!("first read {:?}", t.elapsed()); let t=Instant::now(); s.close().await; println!("close {:?}", t.elapsed()); }
    let s = Store::open(opts()).await.unwrap();
    let (clock, random) = (Clock::system(), Random::system());
    let now = clock.now();
    let name = format!("u{}", &random.hex::<8>());
    let user = User { id: UserId::new(&clock, &random), email: Email::parse(&format!("{name}@example.com")).unwrap(), username: Username::parse(&name).unwrap(), first_name: PersonName::parse("F","A").unwrap(), last_name: PersonName::parse("F","A").unwrap(), avatar: None, role: Role::Developer, is_active: true, email_verified_at: None, last_login_at: None, created_at: now, updated_at: now };
    let mut tx = s.begin().await.unwrap(); tx.insert_user(&NewUser{user: user.clone(), password_hash: None}).await.unwrap(); tx.commit().await.unwrap();
    let n = 200;
    let t = Instant::now();
    let cpu = rustix_cpu();
    let mut last = None;
    for _ in 0..n {
        let c = s.credentials_by_email(&user.email).await.unwrap().unwrap();
        let mut tx = s.begin().await.unwrap();
        let ns = NewSession { id: SessionId::new(&clock,&random), user_id: user.id, refresh_hash: random.bytes(), created_at: now, idle_expires_at: now + Duration::from_secs(100), absolute_expires_at: now + Duration::from_secs(100), remember: false, transport: Transport::Token, ip: None, user_agent: None, amr: vec!["pwd".into()] };
        last = Some(ns.id);
        tx.insert_session(&ns).await.unwrap();
        tx.record_login(user.id, c.epoch, clock.now()).await.unwrap();
        tx.append_audit(&AuditEvent { at: clock.now(), action: "auth.login", outcome: Outcome::Success, actor_id: None, subject_id: None, session_id: None, ip: None, user_agent: None, request_id: None, details: None }).await.unwrap();
        tx.commit().await.unwrap();
    }
    println!("login storage {:?} each, cpu {:?} each", t.elapsed()/n, (rustix_cpu()-cpu)/n as f64);
    let table = SessionTable::new(&s, RolePermissions::default(), SessionTableOptions::default());
    table.read_feed().await.unwrap();
    table.load(last.unwrap()).await.unwrap().unwrap();
    let t = Instant::now(); for _ in 0..100_000 { table.cached(last.unwrap()).unwrap(); } println!("cached {:?}", t.elapsed()/100_000);
    let t = Instant::now(); for _ in 0..1000 { table.read_feed().await.unwrap(); } println!("feed {:?}", t.elapsed()/1000);
    let t = Instant::now(); for _ in 0..1000 { s.session_state(last.unwrap(), &RolePermissions::default()).await.unwrap(); } println!("state {:?}", t.elapsed()/1000);
    }
}
fn rustix_cpu() -> f64 { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<&str> = s.rsplit(") ").next().unwrap().split(' ').collect(); (f[11].parse::<f64>().unwrap()+f[12].parse::<f64>().unwrap())/100.0 }
