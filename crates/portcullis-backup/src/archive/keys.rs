//! The keys of archives, derived from ENCRYPTION_KEY.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use portcullis_model::{SecretRing, SecretString};

use crate::age::Identity;

/// The purposes for which keys are derived.
const MAC: &[u8] = b"backup MAC";
const IDENTITY: &[u8] = b"backup identity";
const ID: &[u8] = b"backup key id";

/// The keys of each ENCRYPTION_KEY: the first makes archives, all read them.
#[derive(Clone)]
pub struct ArchiveKeys(Vec<ArchiveKey>);

/// What is derived from one ENCRYPTION_KEY.
#[derive(Clone)]
pub(crate) struct ArchiveKey {
    /// Tells in the open which ENCRYPTION_KEY an archive was made under.
    pub(crate) id: String,
    /// Authenticates the archive.
    pub(crate) mac: hmac::Key,
    /// Opens an archive without recipients.
    pub(crate) identity: Identity,
}

impl ArchiveKeys {
    /// Derives the keys.
    pub fn new(secrets: &SecretRing) -> Self {
        Self(secrets.iter().map(ArchiveKey::new).collect())
    }

    pub(crate) fn current(&self) -> &ArchiveKey {
        self.0.first().expect("a ring of secrets has at least one")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ArchiveKey> {
        self.0.iter()
    }
}

impl ArchiveKey {
    fn new(secret: &SecretString) -> Self {
        let derived = Salt::new(HKDF_SHA256, b"portcullis").extract(secret.expose().as_bytes());
        let fill = |info: &[u8], key: &mut [u8]| {
            let (info, length) = ([info], Length(key.len()));
            let output = derived.expand(&info, length).expect("32 bytes are within the limit");
            output.fill(key).expect("the buffer has the length of the key");
        };
        let (mut mac, mut identity, mut id) = ([0; 32], [0; 32], [0; 8]);
        fill(MAC, &mut mac);
        fill(IDENTITY, &mut identity);
        fill(ID, &mut id);
        Self { id: hex::encode(id), mac: hmac::Key::new(hmac::HMAC_SHA256, &mac), identity: Identity::of(identity) }
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
