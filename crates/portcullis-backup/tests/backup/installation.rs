//! A database with rows, a folder for its backups, and the keys.

use std::fs;
use std::path::PathBuf;

use portcullis_backup::age::Recipient;
use portcullis_backup::{
    ArchiveKeys, BackupError, BackupOptions, BackupProgress, CreatedBackup, Folder, StoredArchive, Verified,
    VerifyProgress, create, verify,
};
use portcullis_model::{Clock, Random, SecretRing, SecretString};
use portcullis_storage::{DatabaseUrl, Store, StoreOptions};
use portcullis_telemetry::{Metrics, MetricsOptions};
use portcullis_testkit::PrivateDatabase;

pub(crate) const KEY: &str = "an encryption key of at least 32 bytes";

/// More rows than the database is asked for at once.
pub(crate) const ROWS: usize = 2_001;

pub(crate) struct Installation {
    pub(crate) database: PrivateDatabase,
    pub(crate) recipients: Vec<Recipient>,
}

impl From<PrivateDatabase> for Installation {
    fn from(database: PrivateDatabase) -> Self {
        fs::create_dir(database.folder().join("backups")).expect("the folder is writable");
        Self { database, recipients: Vec::new() }
    }
}

pub(crate) fn keys(secret: &str) -> ArchiveKeys {
    ArchiveKeys::new(&SecretRing::from(SecretString::new(secret)))
}

pub(crate) fn options_for(url: &str) -> StoreOptions {
    let metrics = Metrics::new(&MetricsOptions::default(), "test");
    let url = DatabaseUrl::parse(url).expect("the test kit gives an address");
    StoreOptions::new(url, Clock::system(), Random::system(), metrics)
}

impl Installation {
    /// Makes the schema and rows of two tables, which do not compress well.
    pub(crate) async fn fill(&self) {
        Store::open(self.options()).await.expect("the database opens").close().await;
        let mut raw = self.database.connect().await;
        let id = raw.new_id();
        let text = match raw {
            portcullis_testkit::RawConnection::Sqlite(_) => "hex(randomblob(32))",
            portcullis_testkit::RawConnection::Postgres(_) => "gen_random_uuid()::text || gen_random_uuid()::text",
        };
        let numbers =
            format!("WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS})");
        raw.run(&format!("{numbers} INSERT INTO instance (key, value) SELECT 'key ' || n, {text} FROM numbers")).await;
        let at = raw.instant(Clock::system().now());
        raw.run(&format!(
            "{numbers} INSERT INTO audit_log (id, at, action, outcome, ip) \
             SELECT {id}, {at}, 'auth.login', 'success', CASE WHEN n < 9 THEN '192.0.2.1' END FROM numbers"
        ))
        .await;
    }

    pub(crate) fn options(&self) -> StoreOptions {
        options_for(self.database.url())
    }

    pub(crate) fn folder(&self) -> Folder {
        Folder::new(self.path())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.database.folder().join("backups")
    }

    /// Names of all files in the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).expect("the folder exists");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }

    pub(crate) async fn create(&self) -> CreatedBackup {
        self.create_with(&mut Quiet).await.expect("makes a backup")
    }

    pub(crate) async fn create_with(&self, progress: &mut dyn BackupProgress) -> Result<CreatedBackup, BackupError> {
        let (database, folder, keys) = (self.options(), self.folder(), keys(KEY));
        let options = BackupOptions { database: &database, folder: &folder, keys: &keys, recipients: &self.recipients };
        create(options, progress).await
    }

    pub(crate) fn verify(&self, archive: &StoredArchive) -> Result<Verified, BackupError> {
        verify(&self.folder(), archive, &keys(KEY), &[], &mut Quiet)
    }
}

/// Shows no progress.
pub(crate) struct Quiet;

impl BackupProgress for Quiet {
    fn table(&mut self, _name: &'static str, _rows: u64) {}
    fn read(&mut self, _rows: u64) {}
    fn finishing(&mut self) {}
}

impl VerifyProgress for Quiet {
    fn read(&mut self, _bytes: u64) {}
}

/// Does something when the first table begins.
pub(crate) struct AtFirstTable<F: FnMut() + Send>(pub(crate) Option<F>);

impl<F: FnMut() + Send> BackupProgress for AtFirstTable<F> {
    fn table(&mut self, _name: &'static str, _rows: u64) {
        if let Some(mut act) = self.0.take() {
            act();
        }
    }
    fn read(&mut self, _rows: u64) {}
    fn finishing(&mut self) {}
}
