//! `docs/schema.md` agrees with the databases. `UPDATE_DOCS=1` rewrites it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use portcullis_testkit::RawConnection;

use crate::test_database::TestDatabase;

/// A table as an engine describes it.
#[derive(Default)]
struct Described {
    /// Each column's name, type, and whether it may be NULL, in order.
    columns: Vec<(String, String, bool)>,
    /// Each index's name and definition.
    indices: BTreeMap<String, String>,
    /// Each foreign key as `column → table`.
    references: Vec<String>,
}

async fn on_sqlite(raw: &mut RawConnection, table: &str) -> Described {
    let columns = raw
        .texts(&format!(
            "SELECT name || '|' || type || '|' || \"notnull\" || '|' || pk FROM pragma_table_info('{table}')"
        ))
        .await;
    let indices = raw
        .texts(&format!(
            "SELECT l.name || '|' || l.\"unique\" || '|' || (SELECT group_concat(COALESCE(name, 'an expression'), ', ') FROM pragma_index_info(l.name)) \
             || '|' || COALESCE((SELECT substr(sql, instr(sql, ' WHERE ')) FROM sqlite_master m WHERE m.name = l.name AND l.partial), '') \
             FROM pragma_index_list('{table}') l WHERE l.origin = 'c'"
        ))
        .await;
    let references =
        raw.texts(&format!("SELECT \"from\" || ' → ' || \"table\" FROM pragma_foreign_key_list('{table}')")).await;
    Described {
        columns: columns.iter().map(|line| column(line)).collect(),
        indices: indices.iter().map(|line| index(line)).collect(),
        references,
    }
}

async fn on_postgres(raw: &mut RawConnection, table: &str) -> Described {
    let columns = raw
        .texts(&format!(
            "SELECT column_name || '|' || data_type || '|' || CASE is_nullable WHEN 'NO' THEN 1 ELSE 0 END || '|0' \
             FROM information_schema.columns WHERE table_name = '{table}' AND table_schema = current_schema() \
             ORDER BY ordinal_position"
        ))
        .await;
    let indices = raw
        .texts(&format!(
            "SELECT c.relname || '|' || CAST(CAST(i.indisunique AS INT) AS TEXT) || '|' || \
             (SELECT string_agg(CASE i.indkey[n - 1] WHEN 0 THEN 'an expression' ELSE pg_get_indexdef(i.indexrelid, n, TRUE) END, \
             ', ' ORDER BY n) \
              FROM generate_series(1, i.indnatts) n) || '|' || \
             COALESCE(' WHERE ' || pg_get_expr(i.indpred, i.indrelid), '') \
             FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             WHERE i.indrelid = CAST('{table}' AS regclass) AND NOT i.indisprimary"
        ))
        .await;
    let references = raw
        .texts(&format!(
            "SELECT (SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[1]) || ' → ' || \
             CAST(confrelid AS regclass) FROM pg_constraint WHERE conrelid = CAST('{table}' AS regclass) AND contype = 'f'"
        ))
        .await;
    Described {
        columns: columns.iter().map(|line| column(line)).collect(),
        indices: indices.iter().map(|line| index(line)).collect(),
        references,
    }
}

fn column(line: &str) -> (String, String, bool) {
    let parts: Vec<&str> = line.split('|').collect();
    // SQLite's row id is never NULL, although its declaration does not say so.
    (parts[0].to_owned(), parts[1].to_owned(), parts[2] == "0" && parts[3] == "0")
}

fn index(line: &str) -> (String, String) {
    let parts: Vec<&str> = line.split('|').collect();
    let unique = if parts[1] == "1" { "unique " } else { "" };
    let partial = if parts[3].is_empty() { "" } else { ", partial" };
    (parts[0].to_owned(), format!("{unique}({}){partial}", parts[2]))
}

/// Returns the text of each migration, oldest first.
pub(crate) fn migration_files() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let paths = std::fs::read_dir(folder).expect("the folder exists").map(|entry| entry.expect("is readable").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(".up.sql")).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).expect("is readable")).collect()
}

/// Returns each table and the sentence above it in the migrations.
fn tables() -> Vec<(String, String)> {
    let text = migration_files().concat();
    let names = text.lines().filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split(' ').next());
    names
        .map(|name| {
            let prefix = format!("-- {name}: ");
            let sentence = text.lines().find_map(|line| line.strip_prefix(&prefix));
            (name.to_owned(), sentence.unwrap_or_else(|| panic!("{name} has no sentence in its migration")).to_owned())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_about_the_schema_agrees_with_both_engines() {
    let (small, large) = (TestDatabase::sqlite(), TestDatabase::postgres());
    for db in [&small, &large] {
        db.store().await.close().await;
    }
    let (mut small, mut large) = (small.raw().await, large.raw().await);
    let mut page = String::from(
        "# Schema\n\nThis page lists every table as SQLite and PostgreSQL describe it. A test writes the page, and fails when it no\n\
         longer agrees with the databases. Ids are UUIDv7. Timestamps are in UTC with microseconds, on SQLite as RFC 3339\n\
         text. The table `schema_migrations` is the ledger of [migrations](migrations.md).\n",
    );
    for (table, sentence) in tables() {
        let (ours, theirs) = (on_sqlite(&mut small, &table).await, on_postgres(&mut large, &table).await);
        let _ = write!(
            page,
            "\n## {table}\n\n{sentence}\n\n| column | SQLite | PostgreSQL | may be NULL |\n|---|---|---|---|\n"
        );
        assert_eq!(ours.columns.len(), theirs.columns.len(), "{table}");
        for ((name, small, nullable), (other, large, also)) in ours.columns.iter().zip(&theirs.columns) {
            assert_eq!((name, nullable), (other, also), "{table}");
            let _ = writeln!(
                page,
                "| {name} | {} | {large} | {} |",
                small.to_lowercase(),
                if *nullable { "yes" } else { "" }
            );
        }
        assert_eq!(ours.indices, theirs.indices, "{table}");
        assert_eq!(ours.references, theirs.references, "{table}");
        for (name, definition) in &ours.indices {
            let _ = write!(page, "\nIndex `{name}`: {definition}\n");
        }
        for reference in &ours.references {
            let _ = write!(page, "\nReference: {reference}, deleted with it\n");
        }
    }
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schema.md"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page, "docs/schema.md does not agree with the databases; UPDATE_DOCS=1 rewrites it");
}
