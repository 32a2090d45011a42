//! An archive in memory: what is written is read, and nothing else is believed.

use std::io::Cursor;

use portcullis_model::{Clock, Random, SecretRing, SecretString, Timestamp};
use portcullis_storage::{ColumnKind, StoredValue};

use super::*;
use crate::age::{Identity, Recipient};

const KEY: &str = "an encryption key of at least 32 bytes";

fn keys(secrets: &[&str]) -> ArchiveKeys {
    let secrets = secrets.iter().map(|&secret| SecretString::new(secret)).collect();
    ArchiveKeys::new(&SecretRing::new(secrets).expect("at least one"))
}

fn text(text: &str) -> StoredValue {
    StoredValue::Text(Some(text.to_owned()))
}

/// Rows of every type, among them an empty text, bytes that are no text, and NULLs.
fn things() -> Vec<Vec<StoredValue>> {
    let at = Timestamp::from_timestamp_micros(1_795_744_800_123_456);
    vec![
        vec![
            StoredValue::Uuid(Some(uuid::Uuid::from_u128(1))),
            text("Zoë 🦊"),
            StoredValue::Bytes(Some(vec![0, 255, 10])),
            StoredValue::BigInt(Some(i64::MIN)),
            StoredValue::Boolean(Some(true)),
            StoredValue::Time(at),
        ],
        vec![
            StoredValue::Uuid(None),
            text(""),
            StoredValue::Bytes(Some(Vec::new())),
            StoredValue::BigInt(Some(0)),
            StoredValue::Boolean(Some(false)),
            StoredValue::Time(None),
        ],
        vec![
            StoredValue::Uuid(Some(uuid::Uuid::nil())),
            StoredValue::Text(None),
            StoredValue::Bytes(None),
            StoredValue::BigInt(None),
            StoredValue::Boolean(None),
            StoredValue::Time(at),
        ],
    ]
}

fn tables() -> Vec<ManifestTable> {
    let of_things = [
        ("id", ColumnKind::Uuid),
        ("name", ColumnKind::Text),
        ("hash", ColumnKind::Bytes),
        ("number", ColumnKind::BigInt),
        ("active", ColumnKind::Boolean),
        ("at", ColumnKind::Timestamp),
    ];
    let of_words = [("word", ColumnKind::Text)];
    vec![
        ManifestTable::new("things", of_things),
        ManifestTable::new("nothing", of_words),
        ManifestTable::new("words", of_words),
    ]
}

/// Writes an archive of [`things`], of an empty table, and of a table of these words.
fn archive_of(words: &[String], recipients: &[Recipient]) -> Vec<u8> {
    let random = Random::system();
    let new = NewArchive {
        id: &random.hex::<8>(),
        created_at: Clock::system().now(),
        app_version: "0.1.0",
        engine: "sqlite",
        schema_version: 12,
        generation: None,
        recipients,
        tables: tables(),
    };
    let mut writer = ArchiveWriter::create(Cursor::new(Vec::new()), new, &keys(&[KEY]), &random).expect("begins");
    writer.table().expect("writes");
    for row in things() {
        writer.row(&row).expect("writes");
    }
    writer.table().expect("writes");
    writer.table().expect("writes");
    for word in words {
        writer.row(&[text(word)]).expect("writes");
    }
    let (file, manifest) = writer.finish().expect("finishes");
    assert_eq!(manifest.rows(), 3 + words.len() as u64);
    file.into_inner()
}

fn small() -> Vec<u8> {
    archive_of(&["a word".to_owned()], &[])
}

/// Words that compress badly, so that the archive has several blocks.
fn large() -> Vec<u8> {
    let random = Random::system();
    let words: Vec<String> = (0..4_000).map(|_| random.hex::<64>()).collect();
    archive_of(&words, &[])
}

/// Reads everything, and returns the rows of all tables.
fn read(bytes: &[u8], trust: Trust<'_>, identities: &[Identity]) -> Result<Vec<Vec<StoredValue>>, ArchiveError> {
    let mut contents = ArchiveReader::open(bytes, trust)?.contents(identities)?;
    let mut rows = Vec::new();
    while let Some(record) = contents.next()? {
        if let Record::Row(row) = record {
            rows.push(row);
        }
    }
    Ok(rows)
}

fn error_of(bytes: &[u8]) -> ArchiveError {
    let error = read(bytes, Trust::Keys(&keys(&[KEY])), &[]).expect_err("it is refused");
    let checked = ArchiveReader::open(bytes, Trust::Keys(&keys(&[KEY]))).and_then(ArchiveReader::check_bytes);
    checked.expect_err("its bytes are refused too");
    error
}

#[test]
fn what_was_written_is_read() {
    let rows = read(&small(), Trust::Keys(&keys(&[KEY])), &[]).expect("reads");
    assert_eq!(rows[..3], things());
    assert_eq!(rows[3..], [vec![text("a word")]]);
}

#[test]
fn an_archive_of_several_blocks_is_read() {
    let archive = large();
    assert!(archive.len() > 3 * blocks::BLOCK_BYTES, "{} bytes", archive.len());
    assert_eq!(read(&archive, Trust::Keys(&keys(&[KEY])), &[]).expect("reads").len(), 4_003);
}

#[test]
fn sr_66_no_byte_of_an_archive_can_be_changed() {
    let archive = small();
    for at in 0..archive.len() {
        for bit in [1, 128] {
            let mut changed = archive.clone();
            changed[at] ^= bit;
            error_of(&changed);
        }
    }
}

#[test]
fn sr_66_an_archive_cut_off_anywhere_is_refused() {
    let archive = small();
    for length in 0..archive.len() {
        error_of(&archive[..length]);
    }
    assert!(matches!(error_of(&archive[..archive.len() - 1]), ArchiveError::CutOff { .. }));
    assert!(matches!(error_of(&[&archive[..], b"\n"].concat()), ArchiveError::Added));
}

#[test]
fn sr_66_blocks_cannot_be_swapped_dropped_or_mixed() {
    let (archive, other) = (large(), large());
    let manifest = ArchiveReader::open(&archive[..], Trust::Nothing).expect("reads").manifest().clone();
    let body = usize::try_from(manifest.body_bytes).expect("small");
    let head = archive.len() - body - body.div_ceil(blocks::BLOCK_BYTES) * manifest::CODE_BYTES;
    let block = blocks::BLOCK_BYTES + manifest::CODE_BYTES;
    let part = |of: &[u8], number: usize| of[head + number * block..head + (number + 1) * block].to_vec();
    let (first, second) = (part(&archive, 0), part(&archive, 1));
    let (begin, rest) = (&archive[..head], &archive[head + 2 * block..]);
    for (changed, number) in [
        ([begin, &second, &first, rest].concat(), 1),
        ([begin, &first, &first, rest].concat(), 2),
        ([begin, &first, rest].concat(), 2),
        ([begin, &first, &part(&other, 1), rest].concat(), 2),
        ([begin, &other[head..]].concat(), 1),
    ] {
        let error = error_of(&changed);
        let expected = format!("block {number}");
        assert!(matches!(&error, ArchiveError::Altered { part } if *part == expected), "{expected}: {error:?}");
    }
}

#[test]
fn sr_66_an_archive_is_believed_under_its_key_only() {
    let archive = small();
    let error =
        read(&archive, Trust::Keys(&keys(&["the key of another installation....."])), &[]).expect_err("refused");
    assert!(matches!(error, ArchiveError::OtherKey { .. }), "{error:?}");
    let rotated = keys(&["a newer key of at least 32 bytes....", KEY]);
    assert_eq!(read(&archive, Trust::Keys(&rotated), &[]).expect("former keys read").len(), 4);
    let error = read(&archive, Trust::Nothing, &[]).expect_err("it is sealed under the key");
    assert!(matches!(error, ArchiveError::OtherKey { .. }), "{error:?}");
}

#[test]
fn rows_for_recipients_need_an_identity() {
    let random = Random::system();
    let (good, other) = (Identity::generate(&random), Identity::generate(&random));
    let archive = archive_of(&[], &[good.to_recipient()]);
    let keys = keys(&[KEY]);
    for identities in [&[][..], &[other]] {
        let error = read(&archive, Trust::Keys(&keys), identities).expect_err("refused");
        assert!(matches!(error, ArchiveError::NoIdentity { recipients: 1 }), "{error:?}");
    }
    assert_eq!(read(&archive, Trust::Keys(&keys), std::slice::from_ref(&good)).expect("reads"), things());
    assert_eq!(read(&archive, Trust::Nothing, &[good]).expect("reads without the key"), things());
    let archive = ArchiveReader::open(&archive[..], Trust::Keys(&keys)).expect("opens");
    assert!(archive.check_bytes().is_ok(), "its bytes need no identity");
}

#[test]
fn sr_66_who_knows_only_the_recipient_cannot_make_an_archive() {
    let random = Random::system();
    let identity = Identity::generate(&random);
    let forged = archive_of(&[], &[identity.to_recipient()]);
    let error = read(&forged, Trust::Keys(&keys(&["the key of the installation itself..."])), &[identity]);
    assert!(matches!(error, Err(ArchiveError::OtherKey { .. })));
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let archive = small();
    let at = archive.iter().position(|&byte| byte == b'\n').expect("a first line");
    let newer = [&archive[..at - 1], b"2", &archive[at..]].concat();
    let error = error_of(&newer);
    assert!(matches!(error, ArchiveError::Format { found: 2, oldest: 1, newest: 1 }), "{error:?}");
    for other in [&b"PK\x03\x04"[..], b"", b"portcullis-backup/x\n", b"portcullis-backup/99999999999999\n"] {
        assert!(matches!(error_of(other), ArchiveError::NotAnArchive), "{other:?}");
    }
}

#[test]
fn rows_that_are_not_those_of_the_manifest_are_refused() {
    // Only who has the key can make such an archive: a defect of ours.
    let tables = tables();
    let wrong = |table: usize, change: &dyn Fn(&mut ManifestTable)| {
        let mut tables = tables.clone();
        tables[0].rows = 3;
        change(&mut tables[table]);
        let mut writer = rows::RecordWriter::new(Vec::new());
        for table in &tables {
            writer.table(&table.name).expect("writes");
        }
        let stream = writer.end().expect("ends");
        let mut reader = rows::RecordReader::new(&stream[..], tables);
        loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => return String::new(),
                Err(error) => return error.to_string(),
            }
        }
    };
    assert_eq!(wrong(0, &|table| table.rows = 0), "");
    assert!(wrong(0, &|_| ()).contains("things has 0 rows"));
    assert!(wrong(2, &|table| table.checksum = "1".repeat(64)).contains("things has 0 rows"));
}
