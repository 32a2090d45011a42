//! Other programs open what we write: `age` and `zstd` of Debian, by what docs/backup-format.md says.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use portcullis_testkit::PrivateDatabase;

use crate::installation::{Installation, ROWS};

const BLOCK: usize = 65_536;
const CODE: usize = 32;

/// Runs a program, which reads the file, and returns what it prints.
fn run(program: &str, arguments: &[&str], input: &Path) -> Vec<u8> {
    let input = fs::File::open(input).expect("readable");
    let output = Command::new(program).args(arguments).stdin(input).stderr(Stdio::piped()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}. hint: scripts/setup.sh installs it"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Returns the body of an archive, without the manifest and the codes.
fn body(archive: &[u8]) -> Vec<u8> {
    let line = archive.iter().position(|&byte| byte == b'\n').expect("a first line") + 1;
    let length: [u8; 4] = archive[line..line + 4].try_into().expect("four bytes");
    let head = line + 4 + u32::from_be_bytes(length) as usize + CODE;
    archive[head..].chunks(BLOCK + CODE).flat_map(|block| &block[..block.len() - CODE]).copied().collect()
}

#[tokio::test]
async fn an_archive_opens_with_age_and_zstd() {
    let mut installation = Installation::from(PrivateDatabase::sqlite());
    let file = |name: &str| installation.database.folder().join(name);
    let (key, sealed, packed) = (file("key.txt"), file("body.age"), file("body.zst"));
    let made = Command::new("age-keygen").arg("-o").arg(&key).stderr(Stdio::null()).status();
    assert!(made.expect("age-keygen runs; scripts/setup.sh installs it").success());
    let public = String::from_utf8(run("age-keygen", &["-y"], &key)).expect("UTF-8");
    installation.recipients = vec![public.trim().parse().expect("a recipient")];
    installation.fill().await;
    let made = installation.create().await;
    let archive = fs::read(installation.path().join(made.name.to_string())).expect("readable");
    fs::write(&sealed, body(&archive)).expect("writable");
    let key = key.to_str().expect("UTF-8").to_owned();
    fs::write(&packed, run("age", &["--decrypt", "--identity", &key], &sealed)).expect("writable");
    let records = run("zstd", &["--decompress", "--stdout", "--long=23"], &packed);
    let (mut rest, mut tags) = (&records[..], [0; 4]);
    while let [tag, a, b, c, d, more @ ..] = rest {
        tags[usize::from(*tag)] += 1;
        rest = &more[u32::from_be_bytes([*a, *b, *c, *d]) as usize..];
    }
    let tables = made.manifest.tables.len();
    assert_eq!((tags, rest), ([0, tables, 2 * ROWS, 1], &[][..]), "tables, rows and an end");
}
