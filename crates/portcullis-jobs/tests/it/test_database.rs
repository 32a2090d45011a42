//! A database of the test's own, replicas on it, and a clock that the test sets.

use std::sync::Arc;
use std::time::Duration;

use portcullis_jobs::{Job, Jobs, RunOutcome};
use portcullis_model::{Clock, Random};
use portcullis_storage::{DatabaseUrl, Store, StoreOptions};
use portcullis_telemetry::{Errors, Metrics, MetricsOptions};
use portcullis_testkit::{PrivateDatabase, RawConnection};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) struct TestDatabase {
    pub(crate) clock: Clock,
    database: PrivateDatabase,
}

impl From<PrivateDatabase> for TestDatabase {
    fn from(database: PrivateDatabase) -> Self {
        Self { clock: Clock::adjustable(), database }
    }
}

impl TestDatabase {
    /// A store on the database; each call is another replica. It waits for a connection as long as a busy machine may need.
    pub(crate) async fn store(&self) -> Store {
        self.store_with(Duration::from_secs(30)).await
    }

    /// A store that gives up early, for a test that takes the database away.
    pub(crate) async fn store_with_short_timeout(&self) -> Store {
        self.store_with(Duration::from_secs(2)).await
    }

    /// A store with a single connection, for which nobody waits longer than it may take to open one on a busy machine.
    pub(crate) async fn store_of_one_connection(&self) -> Store {
        let options = StoreOptions { pool_max: 1, ..self.options(Duration::from_secs(2)) };
        Store::open(options).await.expect("the database opens")
    }

    async fn store_with(&self, acquire_timeout: Duration) -> Store {
        Store::open(self.options(acquire_timeout)).await.expect("the database opens")
    }

    fn options(&self, acquire_timeout: Duration) -> StoreOptions {
        let url = DatabaseUrl::parse(self.database.url()).expect("the test kit gives an address");
        let metrics = Metrics::new(&MetricsOptions::default(), "test");
        let defaults = StoreOptions::new(url, self.clock.clone(), Random::system(), metrics);
        StoreOptions { pool_min: 0, pool_max: 4, acquire_timeout, ..defaults }
    }

    pub(crate) async fn raw(&self) -> RawConnection {
        self.database.connect().await
    }
}

/// The jobs of one replica.
pub(crate) fn replica(store: &Store, jobs: Vec<Job>) -> Arc<Jobs> {
    recorded_replica(store, jobs).0
}

/// The jobs of one replica, and the errors that they record.
pub(crate) fn recorded_replica(store: &Store, jobs: Vec<Job>) -> (Arc<Jobs>, Errors) {
    let errors = Errors::new(store.metrics().clone(), || Duration::ZERO);
    (Jobs::new(store, Random::system(), errors.clone(), jobs), errors)
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
