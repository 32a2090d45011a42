//! `[upstreams.<name>]`: the services behind the gateway.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::InvalidInput;
use portcullis_model::duration::parse_duration;
use url::Url;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::{Node, Table, Value};
use crate::engine::values::{duration_or_off, positive_duration};

/// A service behind the gateway.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The name by which routes refer to the service.
    pub name: Arc<str>,
    /// The instances of the service, at least one: `http`, a host, an optional port, no path.
    pub targets: Vec<Url>,
    /// How long one address may take to accept a connection.
    pub connect_timeout: Duration,
    /// The most connections to each target.
    pub max_connections: u32,
    /// The most requests under way at each target.
    pub max_requests: u32,
    /// The most tunnels and event streams to each target.
    pub max_streams: u32,
    /// The requests that wait for a place at a target.
    pub queue: Queue,
    /// How long a connection is kept idle; zero keeps none.
    pub keepalive: Duration,
    /// The greatest age at which a connection is used for another request. `None` means no limit.
    pub max_age: Option<Duration>,
    /// Whether the credentials of the client are forwarded (SR-42).
    pub forward_authorization: bool,
    /// The place in the settings.
    pub place: Place,
}

/// The requests that wait for a place at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many may wait.
    pub length: u32,
    /// How long each waits at most.
    pub wait: Duration,
}

static TARGETS: Key = Key::live(
    "targets",
    DefaultValue::Required,
    "list of URLs",
    "The instances of the service, such as `http://10.0.0.5:8002`. They take turns.",
);
static CONNECT_TIMEOUT: Key = Key::live(
    "connect_timeout",
    DefaultValue::Text("2s"),
    "duration",
    "How long one address may take to accept a connection; all addresses together have three times as long.",
);
static MAX_CONNECTIONS: Key = Key::live(
    "max_connections",
    DefaultValue::Text("256"),
    "number",
    "The most connections to each target, from each replica. A request beyond that waits in the queue.",
);
static MAX_REQUESTS: Key = Key::live(
    "max_requests",
    DefaultValue::Text("1024"),
    "number",
    "The most requests under way at each target, from each replica. In HTTP/1.1 each has a connection of its own.",
);
static MAX_STREAMS: Key = Key::live(
    "max_streams",
    DefaultValue::Text("10000"),
    "number",
    "The most WebSockets and event streams to each target, from each replica. They do not count as connections and requests.",
);
static QUEUE: Key = Key::live(
    "queue",
    DefaultValue::Described("`{ length = 256, wait = \"1s\" }`"),
    "`{ length, wait }`",
    "How many requests wait for a place at each target, and how long each waits at most; then 503. A length of 0 refuses at once.",
);
static LENGTH: Key = Key::live("length", DefaultValue::Text("256"), "number", "How many requests wait.");
static WAIT: Key = Key::live("wait", DefaultValue::Text("1s"), "duration", "How long a request waits.");
/// The keys of `queue`.
static QUEUE_TABLE: Section = Section { name: "upstreams.<name>.queue", about: "", keys: &[&LENGTH, &WAIT] };
static KEEPALIVE: Key = Key::live(
    "keepalive",
    DefaultValue::Text("4s"),
    "duration; 0 keeps none",
    "How long a connection is kept idle for the next request; less if the upstream's `Keep-Alive: timeout` says so. It must be shorter than the upstream's own limit, or requests meet closed connections.",
);
static MAX_AGE: Key = Key::live(
    "max_age",
    DefaultValue::Text("5m"),
    "duration or `off`",
    "The greatest age at which a connection is used for another request.",
);
static FORWARD_AUTHORIZATION: Key = Key::live(
    "forward_authorization",
    DefaultValue::Text("false"),
    "true or false",
    "Whether `Authorization`, `X-API-Key` and the cookies of the gateway are forwarded.",
);
static HEALTH: Key = Key::live(
    "health",
    DefaultValue::Described("none"),
    "`{ path, interval }`",
    "Reserved for health checks, which this version does not make; it gets a warning.",
);

/// One section for each service.
pub(crate) static SECTION: Section = Section {
    name: "upstreams.<name>",
    about: "\
A name is 1 to 64 of `a-z`, `0-9`, `-` and `_`. In the environment a list is separated by commas:
`PORTCULLIS__UPSTREAMS__PROJECTS__TARGETS=http://10.0.0.5:8002,http://10.0.0.6:8002`.",
    keys: &[
        &TARGETS,
        &CONNECT_TIMEOUT,
        &MAX_CONNECTIONS,
        &MAX_REQUESTS,
        &MAX_STREAMS,
        &QUEUE,
        &KEEPALIVE,
        &MAX_AGE,
        &FORWARD_AUTHORIZATION,
        &HEALTH,
    ],
};

/// The highest limit that can be set.
const MOST: u32 = 1_000_000;

pub(crate) fn read(tree: &Table, problems: &mut Problems, warnings: &mut Vec<Notice>) -> Vec<Upstream> {
    let Some(node) = tree.get("upstreams") else { return Vec::new() };
    let Value::Table(entries) = &node.value else {
        let message = format!("`upstreams` is {}, but must be a section for each upstream", node.value.kind());
        problems.add(Notice::new(&node.place, message).hint("write [upstreams.projects]"));
        return Vec::new();
    };
    entries.iter().map(|(name, node)| read_one(name, node, problems, warnings)).collect()
}

fn read_one(name: &str, node: &Node, problems: &mut Problems, warnings: &mut Vec<Notice>) -> Upstream {
    let node = node.structured();
    let mut section = Reader::of(Some(&node), format!("upstreams.{name}"), &SECTION, problems);
    if !is_name(name) {
        let message = format!("`{name}` is not a valid name of an upstream");
        let hint = "write 1 to 64 characters: letters a-z, digits, - and _";
        section.problems.add(Notice::new(&node.place, message).hint(hint));
    }
    let upstream = Upstream {
        name: name.into(),
        targets: section.list(&TARGETS, parse_target),
        connect_timeout: section.value(&CONNECT_TIMEOUT, positive_duration),
        max_connections: section.number(&MAX_CONNECTIONS, 1, MOST),
        max_requests: section.number(&MAX_REQUESTS, 1, MOST),
        max_streams: section.number(&MAX_STREAMS, 0, MOST),
        queue: read_queue(&mut section),
        keepalive: section.value(&KEEPALIVE, parse_duration),
        max_age: section.value(&MAX_AGE, duration_or_off),
        forward_authorization: section.flag(&FORWARD_AUTHORIZATION),
        place: node.place.clone(),
    };
    match section.node(&TARGETS).map(|node| &node.value) {
        None => section.reject(&TARGETS, "is missing", "write targets = [\"http://10.0.0.5:8002\"]"),
        Some(Value::List(items)) if items.is_empty() => {
            section.reject(&TARGETS, "is empty", "write targets = [\"http://10.0.0.5:8002\"]");
        }
        Some(_) => {}
    }
    if let Some(health) = section.node(&HEALTH) {
        let message = format!("this version makes no health checks: {} has no effect", section.path(&HEALTH));
        warnings.push(
            Notice::new(&health.place, message)
                .hint("remove it; a request to an instance that cannot be reached is answered 502"),
        );
    }
    upstream
}

fn read_queue(section: &mut Reader<'_, '_>) -> Queue {
    let mut node = section.node(&QUEUE).map(Node::structured);
    if let Some(other) = node.take_if(|node| !matches!(node.value, Value::Table(_))) {
        let hint = "write queue = { length = 256, wait = \"1s\" }";
        section.reject(&QUEUE, format!("is {}, but must be a table", other.value.kind()), hint);
    }
    let mut queue = Reader::of(node.as_ref(), section.path(&QUEUE), &QUEUE_TABLE, section.problems);
    Queue { length: queue.number(&LENGTH, 0, MOST), wait: queue.value(&WAIT, positive_duration) }
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

fn parse_target(text: &str) -> Result<Url, InvalidInput> {
    let form = |why: &str| InvalidInput(format!("{why}; write http://host:port"));
    let url = Url::parse(text).map_err(|_| form("this is not a URL"))?;
    match () {
        () if url.scheme() == "https" => Err(form("this version connects to upstreams by plain HTTP only")),
        () if url.scheme() != "http" => Err(form("a target begins with http://")),
        () if url.host().is_none() => Err(form("the URL has no host")),
        () if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
            Err(form("the URL must not have a path; use strip_prefix of a route"))
        }
        () if !url.username().is_empty() || url.password().is_some() => {
            Err(form("the URL must not have a user or a password"))
        }
        () => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use crate::testing::{refused, settings};

    #[test]
    fn an_upstream_has_a_name_and_targets() {
        let file = "[upstreams.projects]\ntargets = [\"http://10.0.0.5:8002\", \"http://10.0.0.6\"]\nconnect_timeout = \"3s\"\n";
        let upstream = &settings(file, &[]).upstreams[0];
        assert_eq!((&*upstream.name, upstream.targets.len(), upstream.connect_timeout.as_secs()), ("projects", 2, 3));
        let from_environment = settings("", &[("PORTCULLIS__UPSTREAMS__PROJECTS__TARGETS", "http://a:1,http://b:2")]);
        let upstream = &from_environment.upstreams[0];
        assert_eq!((upstream.targets.len(), upstream.connect_timeout.as_secs()), (2, 2));
    }

    #[test]
    fn a_target_has_limits_and_a_queue() {
        let limits = |keys: &str| {
            let upstream =
                settings(&format!("[upstreams.p]\ntargets = [\"http://a\"]\n{keys}"), &[]).upstreams[0].clone();
            let Queue { length, wait } = upstream.queue;
            (upstream.max_connections, upstream.max_requests, upstream.max_streams, length, wait.as_millis())
        };
        assert_eq!(limits(""), (256, 1024, 10_000, 256, 1000));
        let keys = "max_connections = 2\nmax_requests = 3\nmax_streams = 0\nqueue = { length = 0, wait = \"5s\" }\n";
        assert_eq!(limits(keys), (2, 3, 0, 0, 5000));
        assert_eq!(limits("queue = { length = 7 }\n"), (256, 1024, 10_000, 7, 1000));
        let environment = [
            ("PORTCULLIS__UPSTREAMS__P__TARGETS", "http://a"),
            ("PORTCULLIS__UPSTREAMS__P__QUEUE", "{ length = 9, wait = \"2s\" }"),
        ];
        let queue = settings("", &environment).upstreams[0].queue;
        assert_eq!((queue.length, queue.wait.as_secs()), (9, 2));
    }

    #[test]
    fn invalid_limits_are_refused() {
        for (keys, message) in [
            ("max_connections = 0", "upstreams.p.max_connections = 0 cannot be used"),
            ("max_requests = -1", "upstreams.p.max_requests = -1 cannot be used"),
            ("max_streams = \"many\"", "upstreams.p.max_streams = \"many\" cannot be used"),
            ("queue = 5", "upstreams.p.queue is a number, but must be a table"),
            ("queue = { lenght = 5 }", "did you mean `length`?"),
            ("queue = { wait = \"0s\" }", "upstreams.p.queue.wait = \"0s\" cannot be used"),
            ("max_connection = 5", "did you mean `max_connections`?"),
        ] {
            let refused = refused(&format!("[upstreams.p]\ntargets = [\"http://a\"]\n{keys}\n"), &[]);
            assert!(refused.contains(message) && refused.contains("portcullis.toml:3"), "{keys}: {refused}");
        }
    }

    #[test]
    fn a_kept_connection_has_an_idle_time_and_an_age() {
        let kept = |lines: &str| {
            let file = format!("[upstreams.p]\ntargets = [\"http://a\"]\n{lines}");
            let upstream = settings(&file, &[]).upstreams.remove(0);
            (upstream.keepalive.as_secs(), upstream.max_age.map(|age| age.as_secs()))
        };
        assert_eq!(kept(""), (4, Some(300)));
        assert_eq!(kept("keepalive = 0\nmax_age = \"off\"\n"), (0, None));
        let message = refused("[upstreams.p]\ntargets = [\"http://a\"]\nkeepalive = \"off\"\n", &[]);
        assert!(message.contains("upstreams.p.keepalive = \"off\" cannot be used"), "{message}");
    }

    #[test]
    fn an_invalid_target_is_refused() {
        for bad in ["https://x", "ftp://x", "x:80", "http://x/path", "http://u:p@x", "http://x?y=1", "http://"] {
            let message = refused(&format!("[upstreams.p]\ntargets = [{bad:?}]\n"), &[]);
            assert!(message.contains("portcullis.toml:2: upstreams.p.targets"), "{bad}: {message}");
        }
        assert!(refused("[upstreams.p]\n", &[]).contains("portcullis.toml:1: upstreams.p.targets is missing"));
        assert!(refused("[upstreams.p]\ntargets = []\n", &[]).contains("upstreams.p.targets is empty"));
        assert!(refused("[upstreams.\"P x\"]\ntargets = [\"http://a\"]\n", &[]).contains("`P x` is not a valid name"));
    }

    #[test]
    fn a_health_check_gets_a_warning() {
        let file = "[upstreams.p]\ntargets = [\"http://a\"]\nhealth = { path = \"/health\", interval = \"5s\" }\n";
        let warnings = settings(file, &[]).warnings;
        assert!(
            warnings[0].to_string().starts_with("portcullis.toml:3: this version makes no health checks"),
            "{warnings:?}"
        );
        assert!(warnings[1].to_string().starts_with("portcullis.toml:1: no route uses the upstream p"), "{warnings:?}");
    }
}
