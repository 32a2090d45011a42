//! Connecting, and the failures that only an operator can fix.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, ServerConfig, TcpConfig, TlsConfig, TlsHostMapping,
    UnresponsiveConfig,
};
use fred::types::{Builder, InfoKind, RespVersion};
use portcullis_model::{Clock, Random, ReplicaNotifier, SecretRing, SharedLimits, SharedSessions};
use portcullis_telemetry::Metrics;
use portcullis_tls::AuthoritiesError;
use rustls::ClientConfig;
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use crate::link::{Link, close};
use crate::notifier::{self, Publisher};
use crate::sessions::Sessions;
use crate::url::RedisUrl;

/// The oldest major version that works. Valkey counts as 7.2.
const OLDEST: u32 = 7;
/// A connection that has not answered for this long is closed and opened again.
const UNRESPONSIVE: Duration = Duration::from_secs(2);
const UNRESPONSIVE_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// The pause between two attempts to connect, in milliseconds. It doubles up to the longest one.
const FIRST_PAUSE: u32 = 100;
const LONGEST_PAUSE: u32 = 1_000;

/// How to connect to Redis.
pub struct RedisOptions {
    /// The address (`REDIS_URL`).
    pub url: RedisUrl,
    /// The prefix of every key and channel (`redis.prefix`).
    pub prefix: String,
    /// The longest time that a command may take. After that all commands fail until Redis answers a probe.
    pub command_timeout: Duration,
    /// The longest time that connecting may take (`redis.connect_timeout`).
    pub connect_timeout: Duration,
    /// A PEM file with the certificate authorities of the server. `None` uses those of the system.
    pub authorities: Option<PathBuf>,
    /// The clock that the lifetime of session copies is computed with.
    pub clock: Clock,
    /// `ENCRYPTION_KEY`: the keys that authenticate session copies are derived from it. The first secret signs, all verify.
    pub secrets: SecretRing,
    /// The source of this replica's random name.
    pub random: Random,
    /// Counts errors, cache hits and misses, and shows whether Redis answers.
    pub metrics: Metrics,
}

/// A failure to connect that an operator has to fix. It has one sentence and a [`hint`](Self::hint).
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// User or password is wrong, or the user lacks a permission.
    #[error("Redis at {address} refuses the user or the password")]
    Refused {
        /// The address without user and password.
        address: String,
        /// The error that Redis returned.
        #[source]
        source: Error,
    },
    /// A TLS connection could not be made.
    #[error("no TLS connection to Redis at {address} could be made")]
    Tls {
        /// The address without user and password.
        address: String,
        /// The error of the TLS library.
        #[source]
        source: Error,
    },
    /// The file of certificate authorities cannot be read.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// The server is too old.
    #[error("Redis at {address} is version {found}; {OLDEST} or newer is needed")]
    TooOld {
        /// The address without user and password.
        address: String,
        /// The server's version.
        found: String,
    },
    /// The address is for a single server and the server is part of a cluster, or the other way round.
    #[error("Redis at {address} {} a cluster", if *.is_cluster { "is" } else { "is not" })]
    Layout {
        /// The address without user and password.
        address: String,
        /// Whether the server is part of a cluster.
        is_cluster: bool,
    },
    /// The server does not speak the Redis protocol.
    #[error("the server at {address} is not Redis")]
    NotRedis {
        /// The address without user and password.
        address: String,
        /// The protocol error.
        #[source]
        source: Error,
    },
}

impl ConnectError {
    /// Tells the operator how to fix it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused { .. } => {
                "check user and password in REDIS_URL; docs/redis.md lists the permissions that the user needs".into()
            }
            Self::Tls { .. } => "rediss:// needs a server with TLS and a certificate for this host; \
                 set redis.authorities to its certificate authority if that is not a public one"
                .into(),
            Self::Authorities(_) => "redis.authorities must name a file of certificates in PEM".into(),
            Self::TooOld { .. } => "use Redis 7 or newer, or Valkey".into(),
            Self::Layout { is_cluster: true, .. } => {
                "begin REDIS_URL with redis-cluster:// or rediss-cluster://".into()
            }
            Self::Layout { .. } => "begin REDIS_URL with redis:// or rediss://".into(),
            Self::NotRedis { .. } => "check host and port in REDIS_URL".into(),
        })
    }
}

/// The Redis that replicas share. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
    builder: Builder,
    limits: Arc<Limits>,
    sessions: Arc<Sessions>,
    publisher: Arc<Publisher>,
    replica: String,
    stop: CancellationToken,
}

impl Redis {
    /// Connects. If Redis is away, this succeeds too: the client keeps trying, and every call fails until it is connected.
    ///
    /// # Errors
    /// Failures that an operator has to fix, such as a wrong password.
    pub async fn connect(options: RedisOptions) -> Result<Self, ConnectError> {
        let address = options.url.to_string();
        let tls = || portcullis_tls::client_config(options.authorities.as_deref());
        let builder = builder(&options.url, options.connect_timeout, tls)?;
        let found = server_info(&builder, options.connect_timeout).await;
        let answers = match found {
            Ok(info) => check_server(&address, &info, &builder).map(|()| true)?,
            Err(error) => match permanent_failure(&address, error) {
                Some(failure) => return Err(failure),
                None => false,
            },
        };
        let client = builder.build().expect("a client with the same settings was built before");
        // The task ends with the client.
        drop(client.connect());
        let link = Link::new(client, options.prefix, options.command_timeout, options.metrics.clone());
        if answers && tokio::time::timeout(options.connect_timeout, link.client.wait_for_connect()).await.is_ok() {
            link.mark_available(false);
        } else {
            tracing::warn!(%address, "Redis is not available; this replica works without it until it connects");
        }
        tokio::spawn(Link::probe_while_away(Arc::downgrade(&link)));
        let replica = options.random.hex::<8>();
        let (publisher, stop) = (Publisher::new(), CancellationToken::new());
        tokio::spawn(Arc::clone(&publisher).run(Arc::clone(&link), replica.clone(), stop.clone()));
        Ok(Self {
            limits: Arc::new(Limits::new(Arc::clone(&link))),
            sessions: Arc::new(Sessions::new(Arc::clone(&link), options.clock, options.metrics, &options.secrets)),
            link,
            builder,
            publisher,
            replica,
            stop,
        })
    }

    /// The rate limits that replicas count together.
    pub fn limits(&self) -> Arc<dyn SharedLimits> {
        Arc::clone(&self.limits) as Arc<dyn SharedLimits>
    }

    /// The copies of sessions that replicas share.
    pub fn sessions(&self) -> Arc<dyn SharedSessions> {
        Arc::clone(&self.sessions) as Arc<dyn SharedSessions>
    }

    /// Replaces `ENCRYPTION_KEY`, from which the keys that authenticate session copies are derived.
    pub fn replace_secrets(&self, secrets: &SecretRing) {
        self.sessions.replace_secrets(secrets);
    }

    /// Sends notices to the other replicas.
    pub fn notifier(&self) -> Arc<dyn ReplicaNotifier> {
        Arc::clone(&self.publisher) as Arc<dyn ReplicaNotifier>
    }

    /// Calls `on_notice` for each notice of another replica, until cancelled. It is also called after each connection,
    /// because notices may have been lost before.
    pub async fn listen(self, on_notice: Arc<dyn Fn() + Send + Sync>, stop: CancellationToken) {
        let subscriber =
            self.builder.build_subscriber_client().expect("a client with the same settings was built before");
        notifier::listen(subscriber, &self.link.prefix, &self.replica, on_notice, stop).await;
    }

    /// Whether Redis answered the latest command.
    pub fn is_available(&self) -> bool {
        self.link.is_available()
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.stop.cancel();
        close(&self.link.client).await;
    }
}

/// Returns the settings of a client of this server, which uses `tls` if the address asks for TLS.
pub(crate) fn builder(
    url: &RedisUrl,
    connect_timeout: Duration,
    tls: impl FnOnce() -> Result<ClientConfig, AuthoritiesError>,
) -> Result<Builder, ConnectError> {
    let mut config = url.config();
    config.version = RespVersion::RESP3;
    config.fail_fast = false;
    if config.tls.is_some() {
        // Nodes of a cluster refer to each other by address; their certificates have the name of the configured host.
        config.tls = Some(TlsConfig { hostnames: TlsHostMapping::DefaultHost, ..TlsConfig::from(tls()?) });
    }
    let mut builder = Builder::from_config(config);
    builder
        .set_policy(ReconnectPolicy::new_exponential(0, FIRST_PAUSE, LONGEST_PAUSE, 2))
        .set_performance_config(PerformanceConfig::default())
        .set_connection_config(ConnectionConfig {
            connection_timeout: connect_timeout,
            internal_command_timeout: connect_timeout,
            // A command is not sent again after its connection broke: nobody waits for its result any more.
            max_command_attempts: 1,
            reconnect_on_auth_error: true,
            unresponsive: UnresponsiveConfig { max_timeout: Some(UNRESPONSIVE), interval: UNRESPONSIVE_CHECK_INTERVAL },
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        });
    Ok(builder)
}

/// The server's `INFO`, over a connection of its own.
pub(crate) async fn server_info(builder: &Builder, limit: Duration) -> Result<String, Error> {
    let mut builder = builder.clone();
    builder.with_config(|config: &mut Config| config.fail_fast = true);
    let client: Client = builder.build()?;
    let info = async {
        client.init().await?;
        client.info::<String>(Some(InfoKind::All)).await
    };
    let reply = tokio::time::timeout(limit, info).await;
    close(&client).await;
    reply.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "Redis did not reply in time")))
}

/// Checks the server's version and layout.
pub(crate) fn check_server(address: &str, info: &str, builder: &Builder) -> Result<(), ConnectError> {
    let version = field(info, "redis_version").unwrap_or_default();
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < OLDEST {
        return Err(ConnectError::TooOld { address: address.to_owned(), found: version.to_owned() });
    }
    let is_cluster = field(info, "cluster_enabled") == Some("1");
    let wants_cluster =
        builder.get_config().is_some_and(|config| matches!(config.server, ServerConfig::Clustered { .. }));
    if is_cluster == wants_cluster {
        Ok(())
    } else {
        Err(ConnectError::Layout { address: address.to_owned(), is_cluster })
    }
}

/// A field of the reply to `INFO`.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The failure for an error that does not go away by waiting.
pub(crate) fn permanent_failure(address: &str, source: Error) -> Option<ConnectError> {
    let address = address.to_owned();
    let details = source.details();
    let says = |words: &[&str]| words.iter().any(|word| details.contains(word));
    if matches!(source.kind(), ErrorKind::Auth) || says(&["WRONGPASS", "NOAUTH", "NOPERM", "invalid password"]) {
        return Some(ConnectError::Refused { address, source });
    }
    if says(&["cluster support disabled"]) {
        return Some(ConnectError::Layout { address, is_cluster: false });
    }
    match source.kind() {
        ErrorKind::Tls => Some(ConnectError::Tls { address, source }),
        ErrorKind::Protocol | ErrorKind::Parse => Some(ConnectError::NotRedis { address, source }),
        _ if says(&["InvalidCertificate", "InvalidMessage", "InvalidData", "tls"]) => {
            Some(ConnectError::Tls { address, source })
        }
        _ => None,
    }
}
