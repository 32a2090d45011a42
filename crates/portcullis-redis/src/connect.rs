//! Connecting, and why it may fail in a way that only a person can mend.

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
use portcullis_model::{Clock, Random, ReplicaNotifier, SharedLimits, SharedSessions};
use portcullis_telemetry::Metrics;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use crate::link::Link;
use crate::notifier::{self, Ringing};
use crate::sessions::Sessions;
use crate::url::RedisUrl;

/// The oldest Redis this works on. Valkey counts as 7.2.
const OLDEST: u32 = 7;
/// A connection that owes an answer for this long is closed and made anew.
const UNRESPONSIVE: Duration = Duration::from_secs(2);
const LOOKED_AT_EVERY: Duration = Duration::from_millis(500);
/// How long taking leave may take.
const LEAVING: Duration = Duration::from_millis(500);
/// Between two attempts to connect, doubling.
const FIRST_PAUSE: u32 = 100;
const LONGEST_PAUSE: u32 = 1_000;

/// How to connect.
pub struct RedisOptions {
    /// Where.
    pub url: RedisUrl,
    /// What every key and channel begins with.
    pub prefix: String,
    /// How long a command may take before replicas do without.
    pub command_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The authorities that vouch for the server, as PEM; the system's when absent.
    pub authorities: Option<PathBuf>,
    /// For how long copies live.
    pub clock: Clock,
    /// Names this replica.
    pub random: Random,
    /// Where availability, errors, hits and misses are counted.
    pub metrics: Metrics,
}

/// Why Redis cannot be used until somebody changes something: one sentence, and a [`hint`](Self::hint).
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// User or password is wrong, or the user may not do what is needed.
    #[error("Redis at {address} refuses the user or the password")]
    Refused {
        /// Where, without user and password.
        address: String,
        /// What Redis said.
        #[source]
        source: Error,
    },
    /// The connection cannot be encrypted as asked.
    #[error("Redis at {address} cannot be spoken to over TLS")]
    Tls {
        /// Where.
        address: String,
        /// What the TLS library said.
        #[source]
        source: Error,
    },
    /// The file of authorities.
    #[error("the authorities in {} cannot be read", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The server is too old.
    #[error("Redis at {address} is version {found}; {OLDEST} or newer is needed")]
    TooOld {
        /// Where.
        address: String,
        /// Its version.
        found: String,
    },
    /// A cluster was addressed as a single server, or the other way round.
    #[error("Redis at {address} {}", if *.is_cluster { "is a cluster" } else { "is not a cluster" })]
    Layout {
        /// Where.
        address: String,
        /// What it is.
        is_cluster: bool,
    },
    /// Something else answers there.
    #[error("what answers at {address} is not Redis")]
    NotRedis {
        /// Where.
        address: String,
        /// What went wrong.
        #[source]
        source: Error,
    },
}

impl ConnectError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused { .. } => {
                "check user and password in REDIS_URL; docs/redis.md shows the rights that the user needs".into()
            }
            Self::Tls { .. } => "rediss:// needs a server that offers TLS with a certificate for this host; \
                 redis.authorities names the authority that vouches for it, when it is not a public one"
                .into(),
            Self::Authorities { .. } => "redis.authorities must hold certificates as PEM".into(),
            Self::TooOld { .. } => "use a newer Redis, or Valkey".into(),
            Self::Layout { is_cluster: true, .. } => {
                "begin REDIS_URL with redis-cluster:// or rediss-cluster://".into()
            }
            Self::Layout { .. } => "begin REDIS_URL with redis:// or rediss://".into(),
            Self::NotRedis { .. } => "are host and port of REDIS_URL right?".into(),
        })
    }
}

/// Redis as replicas share it. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
    builder: Builder,
    limits: Arc<Limits>,
    sessions: Arc<Sessions>,
    ringing: Arc<Ringing>,
    replica: String,
    stop: CancellationToken,
}

impl Redis {
    /// Connects. A Redis that is away is no error: it is connected to once it is there, and every call says so until
    /// then.
    ///
    /// # Errors
    /// What only a person can mend.
    pub async fn connect(options: RedisOptions) -> Result<Self, ConnectError> {
        let address = options.url.to_string();
        let builder = builder(&options)?;
        let found = look(&builder, options.connect_timeout).await;
        let there = match found {
            Ok(answer) => judge(&address, &answer, &builder).map(|()| true)?,
            Err(error) => match fatal(&address, error) {
                Some(fatal) => return Err(fatal),
                None => false,
            },
        };
        let client = builder.build().expect("the same was built to look");
        // Ends with the client.
        drop(client.connect());
        let link = Link::new(client, options.prefix, options.command_timeout, options.metrics.clone());
        if there && tokio::time::timeout(options.connect_timeout, link.client.wait_for_connect()).await.is_ok() {
            link.found(false);
        } else {
            tracing::warn!(%address, "Redis is not available: replicas go on without it until it is");
        }
        tokio::spawn(Link::look_after(Arc::downgrade(&link)));
        let replica = options.random.hex::<8>();
        let (ringing, stop) = (Ringing::new(), CancellationToken::new());
        tokio::spawn(Arc::clone(&ringing).run(Arc::clone(&link), replica.clone(), stop.clone()));
        Ok(Self {
            limits: Arc::new(Limits::new(Arc::clone(&link))),
            sessions: Arc::new(Sessions::new(Arc::clone(&link), options.clock, options.metrics)),
            link,
            builder,
            ringing,
            replica,
            stop,
        })
    }

    /// Limits that replicas count together.
    pub fn limits(&self) -> Arc<dyn SharedLimits> {
        Arc::clone(&self.limits) as Arc<dyn SharedLimits>
    }

    /// Copies of sessions that replicas share.
    pub fn sessions(&self) -> Arc<dyn SharedSessions> {
        Arc::clone(&self.sessions) as Arc<dyn SharedSessions>
    }

    /// Rings at the other replicas.
    pub fn notifier(&self) -> Arc<dyn ReplicaNotifier> {
        Arc::clone(&self.ringing) as Arc<dyn ReplicaNotifier>
    }

    /// Calls `rung` whenever another replica rings, and after each connecting, because rings may have been lost
    /// meanwhile; until cancelled.
    pub async fn listen(self, rung: Arc<dyn Fn() + Send + Sync>, stop: CancellationToken) {
        let subscriber = self.builder.build_subscriber_client().expect("the same was built to look");
        notifier::listen(subscriber, &self.link.prefix, &self.replica, rung, stop).await;
    }

    /// Whether the last command reached Redis.
    pub fn is_available(&self) -> bool {
        self.link.is_available()
    }

    /// Takes leave.
    pub async fn close(&self) {
        self.stop.cancel();
        leave(&self.link.client).await;
    }
}

fn builder(options: &RedisOptions) -> Result<Builder, ConnectError> {
    let mut config = options.url.config();
    config.version = RespVersion::RESP3;
    config.fail_fast = false;
    if config.tls.is_some() {
        config.tls = Some(tls(options)?);
    }
    let mut builder = Builder::from_config(config);
    builder
        .set_policy(ReconnectPolicy::new_exponential(0, FIRST_PAUSE, LONGEST_PAUSE, 2))
        .set_performance_config(PerformanceConfig::default())
        .set_connection_config(ConnectionConfig {
            connection_timeout: options.connect_timeout,
            internal_command_timeout: options.connect_timeout,
            // A command that was under way when the connection broke is not sent again: nobody waits for it.
            max_command_attempts: 1,
            reconnect_on_auth_error: true,
            unresponsive: UnresponsiveConfig { max_timeout: Some(UNRESPONSIVE), interval: LOOKED_AT_EVERY },
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        });
    Ok(builder)
}

/// rustls over AWS-LC by name, because a process may hold several providers.
fn tls(options: &RedisOptions) -> Result<TlsConfig, ConnectError> {
    let mut roots = RootCertStore::empty();
    match &options.authorities {
        Some(path) => {
            let failed = |source| ConnectError::Authorities { path: path.clone(), source };
            for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
                roots.add_parsable_certificates([certificate.map_err(failed)?]);
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("AWS-LC speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // The nodes of a cluster name each other by address; their certificates carry the name that was asked for.
    Ok(TlsConfig { hostnames: TlsHostMapping::DefaultHost, ..TlsConfig::from(config) })
}

/// What a first, short-lived connection finds.
async fn look(builder: &Builder, limit: Duration) -> Result<String, Error> {
    let mut builder = builder.clone();
    builder.with_config(|config: &mut Config| config.fail_fast = true);
    let client: Client = builder.build()?;
    let asked = async {
        client.init().await?;
        client.info::<String>(Some(InfoKind::All)).await
    };
    let answer = tokio::time::timeout(limit, asked).await;
    leave(&client).await;
    answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "it did not answer in time")))
}

/// Takes leave, without waiting for one who does not answer.
pub(crate) async fn leave(client: &impl ClientLike) {
    let _ = tokio::time::timeout(LEAVING, client.quit()).await;
}

fn judge(address: &str, info: &str, builder: &Builder) -> Result<(), ConnectError> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let version = field("redis_version").unwrap_or_default();
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < OLDEST {
        return Err(ConnectError::TooOld { address: address.to_owned(), found: version.to_owned() });
    }
    let is_cluster = field("cluster_enabled") == Some("1");
    let asked_for_cluster =
        builder.get_config().is_some_and(|config| matches!(config.server, ServerConfig::Clustered { .. }));
    if is_cluster == asked_for_cluster {
        Ok(())
    } else {
        Err(ConnectError::Layout { address: address.to_owned(), is_cluster })
    }
}

/// Which errors no waiting mends.
fn fatal(address: &str, source: Error) -> Option<ConnectError> {
    let address = address.to_owned();
    let said = source.details();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
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
