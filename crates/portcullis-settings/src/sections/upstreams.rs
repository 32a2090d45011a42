//! `[upstreams.<name>]`: the services behind the gateway.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::InvalidInput;
use url::Url;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::{Node, Table, Value};
use crate::engine::values::positive_duration;

/// A service behind the gateway.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The name by which routes refer to the service.
    pub name: Arc<str>,
    /// The instances of the service, at least one: `http`, a host, an optional port, no path.
    pub targets: Vec<Url>,
    /// How long one address may take to accept a connection.
    pub connect_timeout: Duration,
    /// Whether the credentials of the client are forwarded (SR-42).
    pub forward_authorization: bool,
    /// The place in the settings.
    pub place: Place,
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
    keys: &[&TARGETS, &CONNECT_TIMEOUT, &FORWARD_AUTHORIZATION, &HEALTH],
};

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
