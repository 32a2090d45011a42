//! `[server]`: where it listens, whom it trusts, what it bounds.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use portcullis_model::InvalidInput;
use portcullis_model::duration::parse_duration;
use portcullis_model::policy::{BodyLimit, Environment};
use portcullis_model::size::parse_size;
use url::Url;

use crate::engine::key::{Key, Preset, Section};
use crate::engine::layers::Layers;
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::Reader;
use crate::engine::values::{network, one_of, positive_duration};
use crate::sections::listen;

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address that people use; links come from it, never from `Host`.
    pub public_url: Option<Url>,
    /// Whose `X-Forwarded-*` count.
    pub trusted_proxies: Vec<IpNet>,
    /// The largest body of a proxied request, unless its route says otherwise.
    pub max_body: BodyLimit,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long open requests may go on after a stop was asked for.
    pub drain_timeout: Duration,
    /// How long a kept-alive connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a client may pause within a request's body.
    pub body_timeout: Duration,
    /// How long a client may take no piece of an answer.
    pub send_timeout: Duration,
    /// Connections at a time.
    pub max_connections: u32,
    /// Connections of one address at a time.
    pub max_connections_per_address: u32,
    /// Whether HTTP/2 is spoken with those who begin with its preface.
    pub http2: bool,
    /// Whether every connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Where commands reach the running gateway; `None` when they cannot.
    pub control_socket: Option<PathBuf>,
}

static PUBLIC_URL: Key = Key::new(
    "public_url",
    Preset::Otherwise("none; production needs it"),
    "URL",
    "The address that people use. Links are made from it, and its origin counts as ours.",
)
.environment(&["PUBLIC_URL"]);
static DATA_DIR: Key = Key::new(
    "data_dir",
    Preset::Value("portcullis-data"),
    "folder",
    "Where SQLite's file and the secrets made in development live; relative to the working folder.",
)
.environment(&["PORTCULLIS_DATA_DIR"]);
static TRUSTED_PROXIES: Key = Key::new(
    "trusted_proxies",
    Preset::Otherwise("none"),
    "list of addresses or networks",
    "Whose `X-Forwarded-*` headers count, read from right to left.",
);
static MAX_BODY: Key = Key::new(
    "max_body",
    Preset::Value("100MB"),
    "bytes, or with KB, MB, GB; 0 is no limit",
    "The largest body of a proxied request; a route's own `max_body` comes first.",
);
static HEADER_TIMEOUT: Key = Key::new(
    "header_timeout",
    Preset::Value("10s"),
    "duration",
    "How long a client may take to send a request's head.",
);
static IDLE_TIMEOUT: Key = Key::new(
    "idle_timeout",
    Preset::Value("75s"),
    "duration",
    "How long a kept-alive connection may wait for its next request.",
);
static BODY_TIMEOUT: Key = Key::new(
    "body_timeout",
    Preset::Value("30s"),
    "duration",
    "How long a client may pause within a request's body; then 408.",
);
static SEND_TIMEOUT: Key = Key::new(
    "send_timeout",
    Preset::Value("60s"),
    "duration",
    "How long a client may read nothing of an answer that waits for it; then the connection is closed.",
);
static MAX_CONNECTIONS: Key = Key::new(
    "max_connections",
    Preset::Value("10000"),
    "connections",
    "Clients' connections at a time; more wait in the kernel's backlog.",
);
static MAX_CONNECTIONS_PER_ADDRESS: Key = Key::new(
    "max_connections_per_address",
    Preset::Value("2000"),
    "connections",
    "Connections of one address at a time, of IPv6 of one /64; more are closed at once. Trusted proxies have no such limit.",
);
static HTTP2: Key = Key::new(
    "http2",
    Preset::Value("true"),
    "true or false",
    "Whether HTTP/2 is spoken with clients that begin with it (prior knowledge). Others speak HTTP/1.1 either way.",
);
static PROXY_PROTOCOL: Key = Key::new(
    "proxy_protocol",
    Preset::Value("off"),
    "`off` or `required`",
    "Whether every connection begins with a PROXY header, version 1 or 2. Only `trusted_proxies` may connect then.",
);
static CONTROL_SOCKET: Key = Key::new(
    "control_socket",
    Preset::Otherwise("`control.sock` in the data folder"),
    "path, or `off`",
    "Where `portcullis reload` and `portcullis limits` reach the running gateway; its folder must exist. Only its own user can.",
);
static DRAIN_TIMEOUT: Key = Key::new(
    "drain_timeout",
    Preset::Value("30s"),
    "duration",
    "How long open requests may go on after a stop was asked for; then they are cut.",
);

pub(crate) static SECTION: Section = Section {
    name: "server",
    keys: &[
        &listen::LISTEN,
        &PUBLIC_URL,
        &DATA_DIR,
        &TRUSTED_PROXIES,
        &PROXY_PROTOCOL,
        &HTTP2,
        &MAX_CONNECTIONS,
        &MAX_CONNECTIONS_PER_ADDRESS,
        &MAX_BODY,
        &HEADER_TIMEOUT,
        &BODY_TIMEOUT,
        &SEND_TIMEOUT,
        &IDLE_TIMEOUT,
        &DRAIN_TIMEOUT,
        &CONTROL_SOCKET,
    ],
};

/// Reads the section; the second value is the data folder as an absolute path.
pub(crate) fn read(
    layers: &Layers,
    environment: Environment,
    folder: &Path,
    problems: &mut Problems,
    warnings: &mut Vec<Notice>,
    advice: &mut Vec<Notice>,
) -> (Server, PathBuf) {
    let mut section = Reader::open(&layers.tree, &SECTION, problems);
    let data_dir = section.value(&DATA_DIR, |text| match text {
        "" => Err(InvalidInput("it is the name of a folder; `.` is the working folder".to_owned())),
        _ => Ok(folder.join(text)),
    });
    let server = Server {
        listen: listen::read(&mut section, layers, environment, warnings),
        public_url: section.optional(&PUBLIC_URL, parse_public_url),
        trusted_proxies: section.list(&TRUSTED_PROXIES, network),
        max_body: section.value(&MAX_BODY, |text| parse_size(text).map(BodyLimit::from_setting)),
        header_timeout: section.value(&HEADER_TIMEOUT, positive_duration),
        drain_timeout: section.value(&DRAIN_TIMEOUT, parse_duration),
        idle_timeout: section.value(&IDLE_TIMEOUT, positive_duration),
        body_timeout: section.value(&BODY_TIMEOUT, positive_duration),
        send_timeout: section.value(&SEND_TIMEOUT, positive_duration),
        max_connections: section.number(&MAX_CONNECTIONS, 1, 1_000_000),
        max_connections_per_address: section.number(&MAX_CONNECTIONS_PER_ADDRESS, 1, 1_000_000),
        http2: section.flag(&HTTP2),
        proxy_protocol: section.value(&PROXY_PROTOCOL, |text| one_of(text, &[("off", false), ("required", true)])),
        control_socket: match section.optional(&CONTROL_SOCKET, |text| Ok(text.to_owned())) {
            Some(off) if off == "off" => None,
            Some(path) => Some(folder.join(path)),
            None => Some(data_dir.join("control.sock")),
        },
    };
    if environment == Environment::Production && section.node(&PUBLIC_URL).is_none() {
        let notice =
            Notice::new(&Place::Nowhere, "PUBLIC_URL is missing: production needs the address that people use");
        section
            .problems
            .add(notice.hint("set PUBLIC_URL=https://gateway.example.com, or server.public_url in the file"));
    }
    advise(&server, environment, &section, advice);
    (server, data_dir)
}

fn advise(server: &Server, environment: Environment, section: &Reader<'_, '_>, advice: &mut Vec<Notice>) {
    if let Some(network) = server.trusted_proxies.iter().find(|network| network.prefix_len() == 0) {
        let message = format!("{network} trusts every peer: any client can choose its address");
        advice
            .push(Notice::new(&section.place_of(&TRUSTED_PROXIES), message).hint("name the addresses of your proxies"));
    }
    let plain = server.public_url.as_ref().is_some_and(|url| url.scheme() == "http");
    if environment == Environment::Production && plain {
        let message = "PUBLIC_URL is not https: browsers will not send the cookies of production";
        advice.push(Notice::new(&section.place_of(&PUBLIC_URL), message).hint("put TLS in front and write https://"));
    }
}

fn parse_public_url(text: &str) -> Result<Url, InvalidInput> {
    let wrong = |why: &str| InvalidInput(format!("{why}; write it as https://gateway.example.com"));
    let url = Url::parse(text).map_err(|_| wrong("it is no URL"))?;
    match () {
        () if !matches!(url.scheme(), "http" | "https") => Err(wrong("it begins with http:// or https://")),
        () if url.host().is_none() => Err(wrong("it needs a host")),
        () if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
            Err(wrong("it has no path and no query"))
        }
        () if !url.username().is_empty() || url.password().is_some() => Err(wrong("it has no user and no password")),
        () => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{load, refused, settings};

    #[test]
    fn trusted_proxies_are_addresses_and_networks() {
        let nets = settings("[server]\ntrusted_proxies = [\"10.1.2.3/8\", \"::1\"]\n", &[]).server.trusted_proxies;
        assert_eq!(nets.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
        let said = refused("[server]\ntrusted_proxies = [\n  \"10.0.0.0/8\",\n  \"10.0.0.0/40\",\n]\n", &[]);
        assert!(
            said.starts_with("portcullis.toml:4: server.trusted_proxies = \"10.0.0.0/40\" cannot be used"),
            "{said}"
        );
        let nets =
            settings("", &[("PORTCULLIS__SERVER__TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")]).server.trusted_proxies;
        assert_eq!(nets.len(), 2);
    }

    #[test]
    fn a_public_url_is_an_origin() {
        assert!(settings("", &[("PUBLIC_URL", "https://gate.example.com/")]).server.public_url.is_some());
        for bad in ["gate.example.com", "ftp://x", "https://x/path", "https://u:p@x", "https://x?y", "https://"] {
            assert!(load("", &[("PUBLIC_URL", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn sr_47_a_url_with_a_password_is_refused_without_showing_it() {
        let file = "[server]\npublic_url = \"https://ada:hunter2@x\"\n\
            [upstreams.p]\ntargets = [\"http://ada:hunter2@x\", \"//ada:hunter2@x\"]\n";
        let said = refused(file, &[("ALLOWED_ORIGINS", "https://ada:hunter2@x")]);
        assert_eq!(said.matches("cannot be used\n  hint: ").count(), 4, "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_data_folder_without_a_name_is_not_the_working_folder() {
        let said = refused("[server]\ndata_dir = \"\"\n", &[]);
        assert!(said.starts_with("portcullis.toml:2: server.data_dir = \"\" cannot be used\n  hint: "), "{said}");
    }

    #[test]
    fn no_body_limit_is_written_as_zero() {
        assert_eq!(settings("[server]\nmax_body = 0\n", &[]).server.max_body, BodyLimit::Unlimited);
        assert_eq!(settings("", &[]).server.max_body, BodyLimit::Bytes(100 << 20));
    }
}
