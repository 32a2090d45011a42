//! Damaged, renamed and encrypted backups.

use std::fs;

use portcullis_backup::age::Identity;
use portcullis_backup::{ArchiveError, ArchiveName, BackupError, StoredArchive, verify};
use portcullis_model::Random;
use portcullis_testkit::PrivateDatabase;

use crate::installation::{Installation, KEY, Quiet, keys};

async fn with_backup(recipients: &[Identity]) -> (Installation, StoredArchive) {
    let mut installation = Installation::from(PrivateDatabase::sqlite());
    installation.recipients = recipients.iter().map(Identity::to_recipient).collect();
    installation.fill().await;
    let made = installation.create().await;
    (installation, StoredArchive { name: made.name, bytes: made.bytes })
}

#[tokio::test]
async fn a_changed_byte_is_found_with_its_block() {
    let (installation, archive) = with_backup(&[]).await;
    let path = installation.path().join(archive.name.to_string());
    let mut bytes = fs::read(&path).expect("readable");
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).expect("writable");
    let error = installation.verify(&archive).expect_err("it was changed");
    let BackupError::Archive { source: ArchiveError::Altered { part }, .. } = &error else { panic!("{error:?}") };
    assert!(part.starts_with("block "), "{part}");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("writable");
    let error = installation.verify(&archive).expect_err("it was cut off");
    assert!(matches!(error, BackupError::Archive { source: ArchiveError::CutOff { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn sr_66_a_renamed_backup_is_refused() {
    let (installation, archive) = with_backup(&[]).await;
    let later = ArchiveName::parse("portcullis-20991231T235959Z-0123456789abcdef.backup").expect("a name");
    let path = |name: &ArchiveName| installation.path().join(name.to_string());
    fs::rename(path(&archive.name), path(&later)).expect("writable");
    let renamed = StoredArchive { name: later, bytes: archive.bytes };
    let error = installation.verify(&renamed).expect_err("it has another name");
    assert!(matches!(&error, BackupError::Renamed { made_as, .. } if *made_as == archive.name), "{error:?}");
}

#[tokio::test]
async fn without_an_identity_the_bytes_are_checked_and_with_it_the_rows() {
    let identity = Identity::generate(&Random::system());
    let (installation, archive) = with_backup(std::slice::from_ref(&identity)).await;
    assert!(!installation.verify(&archive).expect("its bytes are right").rows_read);
    let verified = verify(&installation.folder(), &archive, &keys(KEY), &[identity], &mut Quiet);
    assert!(verified.expect("its rows are right").rows_read);
    let other = Identity::generate(&Random::system());
    let error = verify(&installation.folder(), &archive, &keys(KEY), &[other], &mut Quiet).expect_err("refused");
    assert!(matches!(error, BackupError::Archive { source: ArchiveError::NoIdentity { .. }, .. }), "{error:?}");
}
