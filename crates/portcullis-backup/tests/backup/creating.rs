//! What a backup holds, and what a failed one leaves.

use std::fs;

use portcullis_backup::{BackupError, CreatedBackup};
use portcullis_testkit::{PrivateDatabase, on_both_engines};

use crate::installation::{AtFirstTable, Installation, ROWS};

fn rows(backup: &CreatedBackup, name: &str) -> u64 {
    backup.manifest.tables.iter().find(|table| table.name == name).expect("every table is in it").rows
}

async fn a_backup_holds_every_row_and_reads_back(installation: Installation) {
    installation.fill().await;
    let made = installation.create().await;
    assert_eq!(
        [rows(&made, "instance"), rows(&made, "audit_log"), rows(&made, "users")],
        [ROWS as u64, ROWS as u64, 0]
    );
    let listed = installation.folder().list().expect("lists");
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].name, listed[0].bytes), (&made.name, made.bytes));
    let verified = installation.verify(&listed[0]).expect("everything is right");
    assert!(verified.rows_read);
    assert_eq!(verified.manifest, made.manifest);
}

async fn what_is_written_meanwhile_waits_for_nothing_and_is_left_out(installation: Installation) {
    installation.fill().await;
    let mut raw = installation.database.connect().await;
    let runtime = tokio::runtime::Handle::current();
    let write = move || {
        let change =
            "INSERT INTO instance (key, value) VALUES ('later', 'v'); DELETE FROM instance WHERE key = 'key 7'";
        tokio::task::block_in_place(|| runtime.block_on(raw.run(change)));
    };
    let made = installation.create_with(&mut AtFirstTable(Some(write))).await.expect("makes a backup");
    assert_eq!(rows(&made, "instance"), ROWS as u64);
    let again = installation.create().await;
    let checksum = |backup: &CreatedBackup, name: &str| {
        backup.manifest.tables.iter().find(|table| table.name == name).expect("it is there").checksum.clone()
    };
    assert_ne!(checksum(&made, "instance"), checksum(&again, "instance"), "one row came and one went");
    assert_eq!(checksum(&made, "audit_log"), checksum(&again, "audit_log"));
}

on_both_engines!(a_backup_holds_every_row_and_reads_back, what_is_written_meanwhile_waits_for_nothing_and_is_left_out);

#[tokio::test]
async fn without_its_folder_or_its_database_no_backup_is_made() {
    let installation = Installation::from(PrivateDatabase::sqlite());
    let error = installation.create_with(&mut crate::installation::Quiet).await.expect_err("there is no database");
    assert!(matches!(error, BackupError::Database(_)), "{error:?}");
    assert_eq!(installation.files(), [""; 0]);
    installation.fill().await;
    fs::remove_dir(installation.path()).expect("it is empty");
    let error = installation.create_with(&mut crate::installation::Quiet).await.expect_err("there is no folder");
    assert!(matches!(error, BackupError::Folder { .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("mkdir -p -m 700")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_cannot_be_finished_leaves_nothing() {
    let installation = Installation::from(PrivateDatabase::sqlite());
    installation.fill().await;
    let (path, moved) = (installation.path(), installation.database.folder().join("elsewhere"));
    let vanish = {
        let (path, moved) = (path.clone(), moved.clone());
        move || fs::rename(&path, &moved).expect("the folder is moved")
    };
    let error = installation.create_with(&mut AtFirstTable(Some(vanish))).await.expect_err("its folder is gone");
    assert!(matches!(error, BackupError::Write { .. }), "{error:?}");
    fs::rename(&moved, &path).expect("the folder is moved back");
    assert_eq!(installation.folder().list().expect("lists"), []);
    installation.create().await;
    assert_eq!(installation.files().len(), 1, "the next run removes what was left");
}
