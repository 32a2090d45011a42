//! A real Prometheus scrapes the gateway under traffic and failures, with the rules of `deploy/prometheus`. Every expression
//! of the rules and of the dashboards is run against it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portcullis_testkit::{PASSWORD, PrivateRedis, TestApp, free_port};
use serde_json::{Value, json};

use crate::client::{app, client, get, post, register, send};
use crate::proxied;

/// How long a wait may take on a busy machine before the test fails.
const LIMIT: Duration = Duration::from_secs(60);

/// Expressions without a sample in this test, by a part of them, and why.
const EMPTY: [(&str, &str); 4] = [
    ("status_code=\"499\"", "no client goes away"),
    ("absent(up", "the target is there"),
    ("secret_store_up", "there is no secret store"),
    ("unless on (job)", "it is empty while mails are sent"),
];

/// A Prometheus server on loopback. It stops when it is dropped.
struct Prometheus {
    process: Child,
    port: u16,
    client: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(target: &TestApp) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let rules = repository().join("deploy/prometheus");
        let config = format!(
            "global: {{ scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }}\n\
             rule_files: [{rules}/recording.yml, {rules}/alerts.yml]\n\
             scrape_configs:\n  - job_name: api-gateway\n    static_configs: [{{ targets: ['{}'] }}]\n",
            target.address(),
            rules = rules.display(),
        );
        std::fs::write(folder.path().join("prometheus.yml"), config).expect("the folder is writable");
        let port = free_port();
        let log = std::fs::File::create(folder.path().join("log")).expect("the folder is writable");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let process = process.expect("prometheus is missing. hint: make setup");
        Self { process, port, client: client(), folder }
    }

    /// The samples of an instant query; none while Prometheus does not answer yet.
    async fn samples(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = format!("http://127.0.0.1:{}/api/v1/query?query={encoded}", self.port);
        let Ok(answer) = self.client.get(url).send().await else { return Vec::new() };
        let Ok(answer) = answer.json::<Value>().await else { return Vec::new() };
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until an expression has a sample.
    async fn until(&self, expression: &str) {
        let begun = Instant::now();
        while self.samples(expression).await.is_empty() {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < LIMIT, "{expression} has no sample; the log of Prometheus:\n{}", log());
        }
    }

    /// Waits until the rules have been evaluated on samples that were scraped from now on.
    async fn until_later_scrapes(&self) {
        for expression in ["up{job=\"api-gateway\"} == 1", "portcullis:requests:rate5m"] {
            self.until("vector(time())").await;
            let now = self.samples("vector(time())").await[0]["value"][0].to_string();
            self.until(&format!("timestamp({expression}) > {now}")).await;
        }
    }

    /// The expressions of the rules that Prometheus has loaded, by the names of the rules.
    async fn rules(&self) -> Vec<(String, String)> {
        let data = self.client.get(format!("http://127.0.0.1:{}/api/v1/rules", self.port)).send().await;
        let data: Value = data.expect("it answers").json().await.expect("JSON");
        let groups = data["data"]["groups"].as_array().expect("groups");
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
        rules
            .map(|rule| {
                assert_eq!(rule["health"], "ok", "{rule}");
                let text = |key: &str| rule[key].as_str().expect("text").to_owned();
                (text("name"), text("query"))
            })
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// What happens at a gateway: sign-ins that succeed and fail, unknown paths, an upstream that is down, a request that is
/// limited, and one without its CSRF token.
async fn traffic(app: &TestApp, email: &str) {
    let sign_in = |password: &str| json!({ "email": email, "password": password });
    assert_eq!(post(app, "/api/v1/auth/login", &sign_in(PASSWORD)).await.status, 200);
    assert_eq!(post(app, "/api/v1/auth/login", &sign_in("wrong password")).await.status, 401);
    assert_eq!(post(app, "/api/v1/auth/forgot-password", &json!({ "email": email })).await.status, 200);
    assert_eq!(get(app, "/api/v1/nowhere").await.status, 404);
    assert_eq!(get(app, "/api/v1/open/x").await.status, 200);
    assert_eq!(get(app, "/api/v1/dead/x").await.status, 502);
    assert_eq!(send(client().post(app.url("/api/v1/checked/x"))).await.status, 403);
    while get(app, "/api/v1/limited").await.status != 429 {}
}

/// A gateway before a good upstream and a dead one, with Redis.
async fn gateway(redis: &PrivateRedis) -> TestApp {
    let (upstream, _) = proxied::upstream().await;
    let route = |path: &str, upstream: &str, more: &str| {
        format!("[[routes]]\npath = \"/api/v1/{path}\"\nupstream = \"{upstream}\"\nauth = \"none\"\n{more}\n")
    };
    let settings = [
        format!("[upstreams.good]\ntargets = [\"http://{upstream}\"]\n"),
        format!("[upstreams.dead]\ntargets = [\"http://127.0.0.1:{}\"]\n", free_port()),
        route("open/{*rest}", "good", "csrf = false"),
        route("dead/{*rest}", "dead", "csrf = false"),
        route("checked/{*rest}", "good", "methods = [\"POST\"]"),
        route("limited", "good", "rate_limit = { rate = \"1/1h\", by = \"address\", name = \"few\" }"),
    ];
    app().env("REDIS_URL", redis.url()).settings(&settings.concat()).start()
}

/// Replaces what Grafana replaces.
fn with_variables(expression: &str) -> String {
    expression
        .replace("$__rate_interval", "1m")
        .replace("$job", "api-gateway")
        .replace("$instance", ".*")
        .replace("$upstream", ".*")
}

/// Every expression of the dashboards, by dashboard and panel.
fn dashboard_expressions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let folder = repository().join("deploy/grafana/dashboards");
    for file in std::fs::read_dir(folder).expect("the dashboards") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("readable");
        let board: Value = serde_json::from_str(&text).expect("JSON");
        let title = board["title"].as_str().expect("a title");
        for annotation in board["annotations"]["list"].as_array().expect("annotations") {
            found
                .push((format!("{title}, annotation"), annotation["expr"].as_str().expect("an expression").to_owned()));
        }
        for panel in board["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let name = format!("{title}, {}", panel["title"].as_str().expect("a title"));
                found.push((name, with_variables(target["expr"].as_str().expect("an expression"))));
            }
        }
    }
    assert!(found.len() > 80, "{} expressions", found.len());
    found.into_iter().map(|(name, expression)| (name, with_variables(&expression))).collect()
}

/// A comparison that yields 0 or 1 where it would leave samples out, so that an alert that does not fire has a sample.
fn yielding(expression: &str) -> String {
    [" > ", " == ", " < "]
        .into_iter()
        .fold(expression.to_owned(), |text, comparison| text.replace(comparison, &format!("{comparison}bool ")))
}

/// The names of metrics in an expression: what stands before a selector or a range.
fn metric_names(expression: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut names = BTreeSet::new();
    for (end, _) in expression.match_indices(['{', '[']) {
        let name: String = expression[..end].chars().rev().take_while(|c| is_name(*c)).collect();
        if !name.is_empty() {
            names.insert(name.chars().rev().collect());
        }
    }
    let words = expression.split(|c: char| !is_name(c));
    names.extend(words.filter(|word| word.starts_with("portcullis:")).map(str::to_owned));
    names
}

/// The names of the samples that there may be: those of the gateway's families and of the recording rules.
async fn known_names(app: &TestApp, rules: &[(String, String)]) -> BTreeSet<String> {
    let page = client().get(app.url("/metrics")).send().await.expect("it answers").text().await.expect("text");
    let mut names: BTreeSet<String> = rules.iter().map(|(name, _)| name.clone()).collect();
    names.insert("up".to_owned());
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        match kind {
            "histogram" => names.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}"))),
            _ => drop(names.insert(name.to_owned())),
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expression_of_rules_and_dashboards_has_samples() {
    let redis = PrivateRedis::start();
    let app = gateway(&redis).await;
    let account = register(&app).await;
    traffic(&app, &account.email).await;
    let prometheus = Prometheus::start(&app);
    prometheus.until_later_scrapes().await;
    traffic(&app, &account.email).await;
    prometheus.until("increase(mails_total{result=\"sent\"}[1m]) > 0").await;
    prometheus.until_later_scrapes().await;

    let rules = prometheus.rules().await;
    let known = known_names(&app, &rules).await;
    let mut expressions = dashboard_expressions();
    expressions.extend(rules);
    let mut unused: BTreeMap<&str, &str> = EMPTY.into_iter().collect();
    for (name, expression) in &expressions {
        for metric in metric_names(expression) {
            assert!(known.contains(&metric), "{name}: there is no metric {metric} ({expression})");
        }
        if prometheus.samples(&yielding(expression)).await.is_empty() {
            let reason = EMPTY.into_iter().find(|(part, _)| expression.contains(part));
            let (part, _) = reason.unwrap_or_else(|| panic!("{name} has no sample: {expression}"));
            unused.remove(part);
        }
    }
    assert!(unused.is_empty(), "expressions that have samples now, or are gone: {unused:?}");

    // The alert of an upstream that is down begins by itself; it fires after two minutes.
    prometheus.until("ALERTS{alertname=\"PortcullisUpstreamDown\",upstream=\"dead\"}").await;
    assert!(prometheus.samples("ALERTS{alertname=\"PortcullisUpstreamDown\",upstream=\"good\"}").await.is_empty());
}
