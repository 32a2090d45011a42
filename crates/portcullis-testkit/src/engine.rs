//! The database engine of this test run: SQLite, or PostgreSQL if `PORTCULLIS_TEST_ENGINE` is `postgresql`.

use std::path::Path;
use std::sync::OnceLock;

use crate::PrivatePostgres;

/// Kept until the process ends, because databases outlive the values that name them.
static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();

/// The file with the address of a folder's PostgreSQL database. A second opening finds the data of the first by it.
const ADDRESS_FILE: &str = ".database-url";

/// The address of the database that belongs to `folder`, the same at each call. `None` on SQLite, where the program uses a
/// file in the folder by default.
pub fn database_of(folder: &Path) -> Option<String> {
    match std::env::var("PORTCULLIS_TEST_ENGINE").as_deref() {
        Err(_) | Ok("" | "sqlite") => None,
        Ok("postgresql") => Some(postgres_of(folder)),
        Ok(other) => panic!("PORTCULLIS_TEST_ENGINE is sqlite or postgresql, not {other:?}"),
    }
}

/// The content of the folder's database as text. `None` on SQLite, where it is in the folder's files.
pub fn dump_of(folder: &Path) -> Option<Vec<u8>> {
    database_of(folder).map(|url| crate::postgres::dump(&url))
}

fn postgres_of(folder: &Path) -> String {
    let file = folder.join(ADDRESS_FILE);
    if let Ok(known) = std::fs::read_to_string(&file) {
        return known;
    }
    let url = SERVER.get_or_init(PrivatePostgres::shared).database();
    std::fs::write(&file, &url).expect("the temporary folder is writable");
    url
}
