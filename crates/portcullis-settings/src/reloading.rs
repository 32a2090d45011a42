//! Holds what each key declares about a reload against the settings that a reload puts in force.

use std::collections::BTreeMap;

use crate::engine::key::{Key, Reload, Section};
use crate::sections::SECTIONS;
use crate::testing::{load_in, settings};
use crate::{EffectiveSettings, Flags, Place, SetKeys, Settings};

/// A file in which every key that needs another one has it.
const BASE: &[(&str, &str, &str)] = &[
    ("session", "access_ttl", "\"1h\""),
    ("limits", "reads", "\"5/1s\""),
    ("log", "access", "\"errors\""),
    ("mail", "url", "\"smtp://mail.example\""),
    ("mail", "from", "\"gate@example.com\""),
    ("redis", "url", "\"redis://cache.example\""),
    ("demo", "enabled", "true"),
    ("demo", "email", "\"demo@example.com\""),
    ("demo", "password", "\"a demo password\""),
    ("database", "url", "\"postgres://pool.example/gate?pgbouncer=true\""),
    ("upstreams.p", "targets", "[\"http://127.0.0.1:1\"]"),
    ("upstreams.q", "targets", "[\"http://127.0.0.1:2\"]"),
    ("versions.v2", "documentation", "\"/v2\""),
    ("routes", "path", "\"/api/v1/p\""),
    ("routes", "upstream", "\"p\""),
];

/// Another value for every key: `section.key`, then the value in TOML.
const CHANGED: &[(&str, &str)] = &[
    ("server.listen", "\"127.0.0.1:9000\""),
    ("server.public_url", "\"https://gate.example.com\""),
    ("server.data_dir", "\"elsewhere\""),
    ("server.trusted_proxies", "[\"10.0.0.0/8\"]"),
    ("server.proxy_protocol", "\"required\""),
    ("server.http2", "false"),
    ("server.max_connections", "10"),
    ("server.max_connections_per_address", "10"),
    ("server.max_body", "1000"),
    ("server.header_timeout", "\"7s\""),
    ("server.body_timeout", "\"7s\""),
    ("server.send_timeout", "\"7s\""),
    ("server.idle_timeout", "\"7s\""),
    ("server.drain_timeout", "\"7s\""),
    ("server.control_socket", "\"off\""),
    ("database.url", "\"sqlite:///elsewhere.db\""),
    ("database.direct_url", "\"postgres://db.example/gate\""),
    ("database.pool_min", "2"),
    ("database.pool_max", "20"),
    ("database.acquire_timeout", "\"7s\""),
    ("database.statement_timeout", "\"7s\""),
    ("database.migrate", "\"off\""),
    ("database.migrate_wait", "\"7s\""),
    ("redis.url", "\"redis://other.example\""),
    ("redis.prefix", "\"other\""),
    ("redis.connect_timeout", "\"7s\""),
    ("redis.authorities", "\"ca.pem\""),
    ("mail.url", "\"smtp://other.example\""),
    ("mail.from", "\"other@example.com\""),
    ("mail.authorities", "\"ca.pem\""),
    ("audit.keep", "\"7d\""),
    ("secrets.csrf_secret", "\"fF3x-9QmZ_27hTqLw8RkVb5NcYd1GsPjAe\""),
    ("secrets.encryption_key", "\"kT4vXn8Q2pLz7Rb5Yw9Hc3Jd6Fg1Ms0e\""),
    ("secrets.jwt_secret", "\"Zq3Wc8Vn5Xb2Mt7Kp1Ly9Rj4Hf6Gd0Sa\""),
    ("secrets.vault", "{ address = \"http://127.0.0.1:8200\", token_file = \"token\", path = \"secret/gate\" }"),
    ("secrets.aws", "{ region = \"eu-central-1\", id = \"gate\" }"),
    ("secrets.refresh", "\"7s\""),
    ("session.access_ttl", "\"2h\""),
    ("session.refresh_idle", "\"1d\""),
    ("session.absolute", "\"20d\""),
    ("session.absolute_remembered", "\"80d\""),
    ("session.max_per_user", "50"),
    ("session.stale_max", "\"7s\""),
    ("session.clock_leeway", "\"7s\""),
    ("session.issuer", "\"other\""),
    ("session.audience", "\"other\""),
    ("session.signing_algorithm", "\"ES256\""),
    ("registration.mode", "\"closed\""),
    ("registration.require_verified_email", "true"),
    ("registration.reveal_existing", "false"),
    ("registration.keep_unconfirmed", "\"90d\""),
    ("password.min_length", "20"),
    ("password.deny_list", "\"denied.txt\""),
    ("password.throttle", "false"),
    ("password.hash_threads", "3"),
    ("password.hash_queue", "3"),
    ("csrf.mode", "\"cookie\""),
    ("cors.allowed_origins", "[\"https://app.example.com\"]"),
    ("headers.hsts", "\"1d\""),
    ("headers.nosniff", "false"),
    ("headers.frame_ancestors", "\"'self'\""),
    ("headers.referrer_policy", "\"origin\""),
    ("headers.override", "true"),
    ("limits.enabled", "false"),
    ("limits.auth", "\"7/1s\""),
    ("limits.api", "\"7/1s\""),
    ("limits.reads", "\"7/1s\""),
    ("limits.writes", "\"7/1s\""),
    ("limits.multipliers", "{ ADMIN = 2 }"),
    ("limits.without_redis", "\"open\""),
    ("versions.default", "\"v2\""),
    ("versions.<version>.released_at", "2026-01-01T00:00:00Z"),
    ("versions.<version>.documentation", "\"/other\""),
    ("versions.<version>.deprecated_at", "2026-01-01T00:00:00Z"),
    ("versions.<version>.sunset_at", "2030-01-01T00:00:00Z"),
    ("versions.<version>.successor", "\"v1\""),
    ("roles.VIEWER", "[\"P_VIEW\"]"),
    ("roles.TESTER", "[\"P_VIEW\"]"),
    ("roles.DEVELOPER", "[\"P_VIEW\"]"),
    ("roles.MANAGER", "[\"P_VIEW\"]"),
    ("roles.ADMIN", "[\"P_VIEW\"]"),
    ("metrics.http_buckets", "[1, 2]"),
    ("metrics.database_buckets", "[1, 2]"),
    ("metrics.fine", "false"),
    ("metrics.token", "\"0123456789abcdef\""),
    ("metrics.listen", "\"127.0.0.1:9100\""),
    ("sentry.dsn", "\"https://key@sentry.example.com/1\""),
    ("sentry.environment", "\"other\""),
    ("sentry.release", "\"other\""),
    ("sentry.traces_sample_rate", "0.5"),
    ("log.level", "\"debug\""),
    ("log.format", "\"json\""),
    ("tracing.trust_incoming", "true"),
    ("backup.to", "\"elsewhere\""),
    ("backup.recipients", "[\"age1wyzepwec9wnlekd36nd5zexgemtjuf683qpsr5v2qggg6tzfvghq7l3qft\"]"),
    ("log.access", "\"all\""),
    ("log.slow", "\"7s\""),
    ("demo.enabled", "false"),
    ("demo.email", "\"other@example.com\""),
    ("demo.password", "\"another password\""),
    ("upstreams.<name>.targets", "[\"http://127.0.0.1:3\"]"),
    ("upstreams.<name>.connect_timeout", "\"7s\""),
    ("upstreams.<name>.max_connections", "7"),
    ("upstreams.<name>.max_requests", "7"),
    ("upstreams.<name>.max_streams", "7"),
    ("upstreams.<name>.queue", "{ length = 7 }"),
    ("upstreams.<name>.keepalive", "\"7s\""),
    ("upstreams.<name>.max_age", "\"7s\""),
    ("upstreams.<name>.forward_authorization", "true"),
    ("routes.path", "\"/api/v1/q\""),
    ("routes.upstream", "\"q\""),
    ("routes.methods", "[\"POST\"]"),
    ("routes.method_override", "true"),
    ("routes.cors", "\"upstream\""),
    ("routes.cors_request_headers", "[\"X-Tenant\"]"),
    ("routes.cors_expose_headers", "[\"X-Total\"]"),
    ("routes.auth", "\"none\""),
    ("routes.roles", "[\"ADMIN\"]"),
    ("routes.permissions", "[\"P_VIEW\"]"),
    ("routes.api_keys", "false"),
    ("routes.verified_email", "true"),
    ("routes.max_session_age", "\"7s\""),
    ("routes.networks", "[\"10.0.0.0/8\"]"),
    ("routes.needs_database", "true"),
    ("routes.csrf", "false"),
    ("routes.rate_limit", "\"7/1s\""),
    ("routes.strip_prefix", "\"/api\""),
    ("routes.timeout", "\"7s\""),
    ("routes.body_idle_timeout", "\"7s\""),
    ("routes.stream_idle_timeout", "\"7s\""),
    ("routes.max_body", "7"),
    ("routes.allowed_origins", "[]"),
    ("routes.security_headers", "false"),
];

/// The key that has no effect in this version.
const WITHOUT_EFFECT: &str = "upstreams.<name>.health";

#[test]
fn a_reload_takes_over_exactly_the_live_keys() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = load(&folder, None);
    for (section, key, name) in keys() {
        let read = load(&folder, Some((section, key, changed(&name))));
        assert_ne!(fingerprint(&start), fingerprint(&read), "{name}: the changed value changes nothing");
        let reload =
            if fingerprint(&start) == fingerprint(&start.reloaded(read)) { Reload::Restart } else { Reload::Live };
        assert_eq!(reload, key.reload, "{name}");
    }
}

#[test]
fn the_report_names_exactly_the_keys_that_wait_for_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = load(&folder, None);
    for (section, key, name) in keys() {
        let read = load(&folder, Some((section, key, changed(&name))));
        let expected = match key.reload {
            // The default of the issuer follows it.
            Reload::Live if name == "server.public_url" => vec!["session.issuer".to_owned()],
            Reload::Live => Vec::new(),
            Reload::Restart => vec![name.clone()],
        };
        assert_eq!(start.waiting_for_restart(&read), expected, "{name}");
    }
}

#[test]
fn set_removed_and_changed_keys_are_compared_with_the_start() {
    let start = settings("[session]\naccess_ttl = \"1h\"\n", &[]);
    let waiting = |file: &str| start.waiting_for_restart(&settings(file, &[]));
    assert_eq!(waiting("[session]\naccess_ttl = \"1h\"\n"), [""; 0]);
    assert_eq!(waiting("[session]\naccess_ttl = \"2h\"\n"), ["session.access_ttl"]);
    assert_eq!(waiting("[server]\nlisten = \"127.0.0.1:1\"\n"), ["server.listen", "session.access_ttl"]);
}

#[test]
fn a_changed_port_of_the_environment_waits_for_a_restart() {
    let start = settings("", &[("PORT", "8001")]);
    assert_eq!(start.waiting_for_restart(&settings("", &[("PORT", "8002")])), ["server.listen"]);
    assert_eq!(start.waiting_for_restart(&settings("", &[("PORT", "8001")])), [""; 0]);
}

#[test]
fn sr_47_the_keys_that_were_set_show_no_values() {
    let secret = settings("[database]\nurl = \"postgres://u:hunter2@h/d\"\n", &[]);
    assert!(!format!("{:?}", secret.set_keys).contains("hunter2"));
}

/// Every key that is compared, with its section and its name.
fn keys() -> impl Iterator<Item = (&'static Section, &'static Key, String)> {
    let all = SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (*section, *key)));
    all.map(|(section, key)| (section, key, format!("{}.{}", section.name, key.name)))
        .filter(|(_, _, name)| name != WITHOUT_EFFECT)
}

fn changed(name: &str) -> &'static str {
    let found = CHANGED.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("{name} needs a line in CHANGED")).1
}

/// Loads the base file with one key replaced or added. The folder is the same for all, because settings hold its path.
fn load(folder: &tempfile::TempDir, change: Option<(&Section, &Key, &str)>) -> Settings {
    std::fs::write(folder.path().join("denied.txt"), "acme rockets\n").expect("writable");
    std::fs::write(folder.path().join("portcullis.toml"), file(change)).expect("writable");
    load_in(folder.path(), Flags::default(), &[]).unwrap_or_else(|problems| panic!("refused:\n{problems}"))
}

/// The base file with one key replaced or added.
fn file(change: Option<(&Section, &Key, &str)>) -> String {
    let mut tables: BTreeMap<String, BTreeMap<&str, &str>> = BTreeMap::new();
    for (section, key, value) in BASE {
        tables.entry((*section).to_owned()).or_default().insert(key, value);
    }
    if let Some((section, key, value)) = change {
        let table = section.name.replace("<name>", "p").replace("<version>", "v2");
        tables.entry(table).or_default().insert(key.name, value);
    }
    let mut file = String::new();
    for (table, keys) in tables {
        file.push_str(&if table == "routes" { "[[routes]]\n".to_owned() } else { format!("[{table}]\n") });
        for (key, value) in keys {
            file.push_str(&format!("{key} = {value}\n"));
        }
    }
    file
}

/// Everything that settings hold, secrets included, without places in the file and notices.
fn fingerprint(settings: &Settings) -> String {
    let exposed = [&settings.secrets.csrf, &settings.secrets.encryption, &settings.secrets.jwt]
        .map(|ring| ring.as_ref().map(|ring| ring.current().expose().to_owned()));
    let demo = settings.demo.as_ref().map(|demo| demo.password.expose().to_owned());
    let mut bare = settings.clone();
    bare.set_keys = SetKeys::default();
    bare.effective = EffectiveSettings::default();
    bare.warnings.clear();
    bare.advice.clear();
    for route in &mut bare.routes {
        route.place = Place::Nowhere;
    }
    for upstream in &mut bare.upstreams {
        upstream.place = Place::Nowhere;
    }
    format!("{bare:?} {exposed:?} {demo:?}")
}
