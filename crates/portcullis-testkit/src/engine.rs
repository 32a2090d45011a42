//! Which engine this run of the tests uses: SQLite, or PostgreSQL when `PORTCULLIS_TEST_ENGINE` is `postgresql`.

use std::path::Path;
use std::sync::OnceLock;

use crate::PrivatePostgres;

/// Kept until the process ends, because databases outlive the values that name them.
static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();

/// Where the address of a folder's PostgreSQL database is noted, so that a second opening finds the first one's data.
const NOTE: &str = ".database-url";

/// The address of the database that belongs to `folder`, of this run's engine; the same at each call. `None` on
/// SQLite, where the program's own default is a file in the folder.
pub fn database_of(folder: &Path) -> Option<String> {
    match std::env::var("PORTCULLIS_TEST_ENGINE").as_deref() {
        Err(_) | Ok("" | "sqlite") => None,
        Ok("postgresql") => Some(postgres_of(folder)),
        Ok(other) => panic!("PORTCULLIS_TEST_ENGINE is sqlite or postgresql, not {other:?}"),
    }
}

/// Everything that the folder's database holds, as text; `None` on SQLite, where the folder's files hold it.
pub fn dump_of(folder: &Path) -> Option<Vec<u8>> {
    database_of(folder).map(|url| crate::postgres::dump(&url))
}

fn postgres_of(folder: &Path) -> String {
    let note = folder.join(NOTE);
    if let Ok(known) = std::fs::read_to_string(&note) {
        return known;
    }
    let url = SERVER.get_or_init(PrivatePostgres::shared).database();
    std::fs::write(&note, &url).expect("the temporary folder is writable");
    url
}
