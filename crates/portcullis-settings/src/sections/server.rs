//! `[server]`: the address to listen on, trusted proxies, timeouts and connection limits.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use portcullis_model::InvalidInput;
use portcullis_model::duration::parse_duration;
use portcullis_model::policy::{BodyLimit, Environment};
use portcullis_model::size::parse_size;
use url::Url;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::layers::Layers;
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::Reader;
use crate::engine::values::{network, one_of, positive_duration};
use crate::sections::listen;

/// The section `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address to listen on; port 0 takes a free port.
    pub listen: SocketAddr,
    /// The address that users type. Links are made from it, never from `Host`.
    pub public_url: Option<Url>,
    /// The peers whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The largest body of a proxied request, unless its route sets a limit.
    pub max_body: BodyLimit,
    /// How long a client may take to send the head of a request (header timeout).
    pub header_timeout: Duration,
    /// How long open requests may continue during a graceful shutdown.
    pub drain_timeout: Duration,
    /// How long a connection may wait for its next request (idle timeout).
    pub idle_timeout: Duration,
    /// How long a client may pause while it sends the body of a request.
    pub body_timeout: Duration,
    /// How long a client may stop reading a response, or either side of a WebSocket.
    pub send_timeout: Duration,
    /// The most connections of clients at a time.
    pub max_connections: u32,
    /// The most connections of one client address at a time.
    pub max_connections_per_address: u32,
    /// Whether clients may use HTTP/2, by its connection preface (prior knowledge).
    pub http2: bool,
    /// Whether every connection must begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The path of the socket by which commands reach the running gateway; `None` when it is off.
    pub control_socket: Option<PathBuf>,
}

static PUBLIC_URL: Key = Key::live(
    "public_url",
    DefaultValue::Described("none; production needs it"),
    "URL",
    "The address that users type. Links are made from it, and requests from its origin count as same-origin. \
     The name of the service in mails and in the password rules follows at the next start.",
)
.environment(&["PUBLIC_URL"]);
static DATA_DIR: Key = Key::restart(
    "data_dir",
    DefaultValue::Text("portcullis-data"),
    "folder",
    "The folder for SQLite's file and the secrets made in development, relative to the working folder.",
)
.environment(&["PORTCULLIS_DATA_DIR"]);
static TRUSTED_PROXIES: Key = Key::live(
    "trusted_proxies",
    DefaultValue::Described("none"),
    "list of addresses or networks",
    "The proxies whose `X-Forwarded-*` headers are believed, read from right to left.",
);
static MAX_BODY: Key = Key::live(
    "max_body",
    DefaultValue::Text("100MB"),
    "bytes, or with KB, MB, GB; 0 is no limit",
    "The largest body of a proxied request; `max_body` of a route wins over it.",
);
static HEADER_TIMEOUT: Key = Key::restart(
    "header_timeout",
    DefaultValue::Text("10s"),
    "duration",
    "How long a client may take to send the head of a request; then 408.",
);
static IDLE_TIMEOUT: Key = Key::restart(
    "idle_timeout",
    DefaultValue::Text("75s"),
    "duration",
    "How long a connection may wait for its next request; then it is closed.",
);
static BODY_TIMEOUT: Key = Key::live(
    "body_timeout",
    DefaultValue::Text("30s"),
    "duration",
    "How long a client may pause while it sends the body of a request; then 408.",
);
static SEND_TIMEOUT: Key = Key::restart(
    "send_timeout",
    DefaultValue::Text("60s"),
    "duration",
    "How long a client may stop reading a response, or either side of a WebSocket; then the connection is closed.",
);
static MAX_CONNECTIONS: Key = Key::restart(
    "max_connections",
    DefaultValue::Text("10000"),
    "connections",
    "The most connections of clients at a time; more wait in the backlog of the kernel.",
);
static MAX_CONNECTIONS_PER_ADDRESS: Key = Key::restart(
    "max_connections_per_address",
    DefaultValue::Text("2000"),
    "connections",
    "The most connections of one address at a time (of one /64 for IPv6); more are closed at once. Trusted proxies have no such limit.",
);
static HTTP2: Key = Key::restart(
    "http2",
    DefaultValue::Text("true"),
    "true or false",
    "Whether clients may use HTTP/2 (prior knowledge). Other clients use HTTP/1.1 either way.",
);
static PROXY_PROTOCOL: Key = Key::restart(
    "proxy_protocol",
    DefaultValue::Text("off"),
    "`off` or `required`",
    "Whether every connection must begin with a PROXY protocol header, version 1 or 2. Only `trusted_proxies` may connect then.",
);
static CONTROL_SOCKET: Key = Key::restart(
    "control_socket",
    DefaultValue::Described("`control.sock` in the data folder"),
    "path, or `off`",
    "The socket by which `portcullis reload` and `portcullis limits` reach the running gateway. Its folder must exist; only the user that runs the gateway can use it.",
);
static DRAIN_TIMEOUT: Key = Key::restart(
    "drain_timeout",
    DefaultValue::Text("30s"),
    "duration",
    "How long open requests may continue during a graceful shutdown; then they are cut.",
);

pub(crate) static SECTION: Section = Section {
    name: "server",
    about: "\
Outside production the gateway listens on loopback only, unless `HOST` or `--host` names another address;
`listen` alone does not. `X-Forwarded-*` headers of a peer that is not in `trusted_proxies` are replaced, never
appended to.",
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

/// Reads the section. The second value is the absolute path of the data folder.
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
        "" => Err(InvalidInput("write the name of a folder; `.` is the working folder".to_owned())),
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
            Notice::new(&Place::Nowhere, "PUBLIC_URL is missing: production needs the address that users type");
        section
            .problems
            .add(notice.hint("set PUBLIC_URL=https://gateway.example.com, or server.public_url in the file"));
    }
    advise(&server, environment, &section, advice);
    (server, data_dir)
}

fn advise(server: &Server, environment: Environment, section: &Reader<'_, '_>, advice: &mut Vec<Notice>) {
    if let Some(network) = server.trusted_proxies.iter().find(|network| network.prefix_len() == 0) {
        let message = format!("{network} trusts every peer, so any client can choose its address");
        advice.push(
            Notice::new(&section.place_of(&TRUSTED_PROXIES), message).hint("list the addresses of your proxies only"),
        );
    }
    let plain = server.public_url.as_ref().is_some_and(|url| url.scheme() == "http");
    if environment == Environment::Production && plain {
        let message = "PUBLIC_URL is not https, so browsers will not send the cookies of production";
        advice.push(
            Notice::new(&section.place_of(&PUBLIC_URL), message)
                .hint("serve TLS in front of the gateway and write https://"),
        );
    }
}

fn parse_public_url(text: &str) -> Result<Url, InvalidInput> {
    let wrong = |why: &str| InvalidInput(format!("{why}; write it as https://gateway.example.com"));
    let url = Url::parse(text).map_err(|_| wrong("this is not a URL"))?;
    match () {
        () if !matches!(url.scheme(), "http" | "https") => Err(wrong("a URL here begins with http:// or https://")),
        () if url.host().is_none() => Err(wrong("the URL has no host")),
        () if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
            Err(wrong("the URL must not have a path or a query"))
        }
        () if !url.username().is_empty() || url.password().is_some() => {
            Err(wrong("the URL must not have a user or a password"))
        }
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
        let message = refused("[server]\ntrusted_proxies = [\n  \"10.0.0.0/8\",\n  \"10.0.0.0/40\",\n]\n", &[]);
        assert!(
            message.starts_with("portcullis.toml:4: server.trusted_proxies = \"10.0.0.0/40\" cannot be used"),
            "{message}"
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
        let message = refused(file, &[("ALLOWED_ORIGINS", "https://ada:hunter2@x")]);
        assert_eq!(message.matches("cannot be used\n  hint: ").count(), 4, "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn an_empty_data_folder_is_refused() {
        let message = refused("[server]\ndata_dir = \"\"\n", &[]);
        assert!(message.starts_with("portcullis.toml:2: server.data_dir = \"\" cannot be used\n  hint: "), "{message}");
    }

    #[test]
    fn a_body_limit_of_zero_means_no_limit() {
        assert_eq!(settings("[server]\nmax_body = 0\n", &[]).server.max_body, BodyLimit::Unlimited);
        assert_eq!(settings("", &[]).server.max_body, BodyLimit::Bytes(100 << 20));
    }
}
