//! A private database of either engine for one test, and tests that run on both.

use std::path::Path;

use tempfile::TempDir;

use crate::PrivatePostgres;
use crate::raw_connection::RawConnection;

/// A database of one test. It is empty at first and ends with this value.
pub struct PrivateDatabase {
    url: String,
    folder: TempDir,
    /// Keeps the shared server running.
    _server: Option<PrivatePostgres>,
}

impl PrivateDatabase {
    /// A SQLite file in a folder of its own. The file does not exist yet.
    pub fn sqlite() -> Self {
        let folder = folder();
        let url = format!("sqlite://{}", folder.path().join("portcullis.db").display());
        Self { url, folder, _server: None }
    }

    /// A new database on the PostgreSQL server that all tests share.
    pub fn postgres() -> Self {
        let server = PrivatePostgres::shared();
        Self { url: server.database(), folder: folder(), _server: Some(server) }
    }

    /// The database at this address, which the test itself starts and stops.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), folder: folder(), _server: None }
    }

    /// The SQLite file at this path, which the test itself makes or leaves out.
    pub fn at_file(path: &Path) -> Self {
        Self::at(format!("sqlite://{}", path.display()))
    }

    /// The address, as `DATABASE_URL` takes it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs the statements of a dump, on SQLite in a new file.
    pub async fn restore(&self, dump: &str) {
        RawConnection::create(&self.url).await.run(dump).await;
    }

    /// The test's temporary folder, which holds the file of a SQLite database.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Opens a connection for statements that the program does not offer.
    pub async fn connect(&self) -> RawConnection {
        RawConnection::open(&self.url).await
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// Defines two tests for each function, one for each engine. A function takes a value that is made
/// `From<PrivateDatabase>`.
#[macro_export]
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::PrivateDatabase::sqlite().into()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::PrivateDatabase::postgres().into()).await;
            })*
        }
    };
}
