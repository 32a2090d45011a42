//! A database of the test's own, replicas on it, and a clock that the test sets.

use std::sync::Arc;
use std::time::Duration;

use portcullis_jobs::{Job, Jobs, RunOutcome};
use portcullis_model::{Clock, Random};
use portcullis_storage::{DatabaseUrl, MigrateMode, Store, StoreOptions};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::PrivatePostgres;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) struct TestDatabase {
    pub(crate) clock: Clock,
    pub(crate) url: DatabaseUrl,
    _owner: Owner,
}

/// Ends the database with the test.
enum Owner {
    Folder { _folder: TempDir },
    Server { _server: PrivatePostgres },
    Test,
}

impl TestDatabase {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = DatabaseUrl::sqlite(folder.path().join("portcullis.db"));
        Self::new(url, Owner::Folder { _folder: folder })
    }

    pub(crate) fn postgres() -> Self {
        let server = PrivatePostgres::shared();
        let url = DatabaseUrl::parse(&server.database()).expect("the server gives an address");
        Self::new(url, Owner::Server { _server: server })
    }

    /// A database that the test itself starts and stops.
    pub(crate) fn at(url: DatabaseUrl) -> Self {
        Self::new(url, Owner::Test)
    }

    fn new(url: DatabaseUrl, owner: Owner) -> Self {
        Self { clock: Clock::adjustable(), url, _owner: owner }
    }

    /// A store on the database; each call is another replica. It waits for a connection as long as a busy machine may need.
    pub(crate) async fn store(&self) -> Store {
        self.store_with(Duration::from_secs(30)).await
    }

    /// A store that gives up early, for a test that takes the database away.
    pub(crate) async fn store_with_short_timeout(&self) -> Store {
        self.store_with(Duration::from_secs(2)).await
    }

    async fn store_with(&self, acquire_timeout: Duration) -> Store {
        let options = StoreOptions {
            url: self.url.clone(),
            pool_min: 0,
            pool_max: 4,
            acquire_timeout,
            statement_timeout: Duration::from_secs(10),
            migrate: MigrateMode::Auto,
            migrate_wait: Duration::from_secs(60),
            app_version: "test".to_owned(),
            notify: false,
            clock: self.clock.clone(),
            random: Random::system(),
            metrics: Metrics::new(&MetricsOptions::default(), "test"),
        };
        Store::open(options).await.expect("the database opens")
    }

    pub(crate) async fn raw(&self) -> RawConnection {
        match &self.url {
            DatabaseUrl::Sqlite { path } => {
                let options = SqliteConnectOptions::new().filename(path);
                RawConnection::Sqlite(options.connect().await.expect("the database opens"))
            }
            DatabaseUrl::Postgres { url } => {
                RawConnection::Postgres(PgConnection::connect(url.expose()).await.expect("the database opens"))
            }
        }
    }
}

/// The jobs of one replica.
pub(crate) fn replica(store: &Store, jobs: Vec<Job>) -> Arc<Jobs> {
    Jobs::new(store, Random::system(), jobs)
}

/// Runs a job if it is due, in a process that does not stop.
pub(crate) async fn run(jobs: &Jobs, name: &str) -> Option<RunOutcome> {
    jobs.run_if_due(name, &CancellationToken::new()).await.expect("the database can be reached")
}

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// The end of a test's wait for an event that should come at once.
pub(crate) async fn within_a_minute<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), event).await.expect("the event comes")
}

/// A job whose batches the test watches and lets end one by one.
pub(crate) struct Gate {
    began: mpsc::UnboundedReceiver<()>,
    go_on: Arc<tokio::sync::Semaphore>,
}

impl Gate {
    /// A job on one replica, and the gate at which each of its batches waits.
    pub(crate) fn job(name: &'static str) -> (Job, Self) {
        let (sender, began) = mpsc::unbounded_channel();
        let go_on = Arc::new(tokio::sync::Semaphore::new(0));
        let semaphore = Arc::clone(&go_on);
        let job = Job::on_one_replica(name, HOUR, move || {
            let (sender, semaphore) = (sender.clone(), Arc::clone(&semaphore));
            async move {
                let _ = sender.send(());
                semaphore.acquire().await?.forget();
                Ok(portcullis_jobs::Batch::Last)
            }
        });
        (job, Self { began, go_on })
    }

    /// Waits until a batch has begun.
    pub(crate) async fn began(&mut self) {
        within_a_minute(self.began.recv()).await.expect("the job exists");
    }

    /// Lets one batch end.
    pub(crate) fn open(&self) {
        self.go_on.add_permits(1);
    }
}

/// A connection of the test's own, for statements that the store does not offer.
pub(crate) enum RawConnection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl RawConnection {
    pub(crate) async fn run(&mut self, text: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(connection) => drop(connection.execute(sql).await.expect("runs")),
            Self::Postgres(connection) => drop(connection.execute(sql).await.expect("runs")),
        }
    }

    /// The one number that a query returns.
    pub(crate) async fn number(&mut self, text: &str) -> i64 {
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(connection) => connection.fetch_one(sql).await.expect("a row").get(0),
            Self::Postgres(connection) => connection.fetch_one(sql).await.expect("a row").get(0),
        }
    }

    /// The one text that a query returns.
    pub(crate) async fn text(&mut self, text: &str) -> String {
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(connection) => connection.fetch_one(sql).await.expect("a row").get(0),
            Self::Postgres(connection) => connection.fetch_one(sql).await.expect("a row").get(0),
        }
    }

    /// A new id as an expression.
    pub(crate) fn new_id(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "randomblob(16)",
            Self::Postgres(_) => "gen_random_uuid()",
        }
    }

    /// An instant as a literal.
    pub(crate) fn at(&self, at: portcullis_model::Timestamp) -> String {
        format!("'{}'", at.to_rfc3339())
    }
}
