//! The header of a file: its key, wrapped for each recipient, under an authentication code (age specification, "Header").

use std::io::{self, BufRead, Read};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use portcullis_model::{Random, SecretBytes};

use super::error::AgeError;
use super::keys::{Identity, KEY_BYTES, Recipient};

const VERSION: &str = "age-encryption.org/v1";
const STANZA: &str = "-> ";
const END: &str = "---";
const X25519: &str = "X25519";
const X25519_INFO: &[u8] = b"age-encryption.org/v1/X25519";
/// Characters of a full line of a stanza's body.
const COLUMNS: usize = 64;
/// Bytes of a file key, and of its wrapping with the tag.
const FILE_KEY_BYTES: usize = 16;
const WRAPPED_BYTES: usize = FILE_KEY_BYTES + 16;
/// The longest header that is read: some six hundred recipients.
const MAX_BYTES: u64 = 65_536;

/// The key of one file.
pub(super) struct FileKey(SecretBytes);

impl FileKey {
    pub(super) fn generate(random: &Random) -> Self {
        Self(SecretBytes::new(random.bytes::<FILE_KEY_BYTES>()))
    }

    /// Returns the key of the payload, which depends on its nonce too.
    pub(super) fn payload_key(&self, nonce: &[u8]) -> LessSafeKey {
        let key = derive(self.0.expose(), &Salt::new(HKDF_SHA256, nonce), b"payload");
        aead_key(key.expose())
    }

    fn header_code(&self, header: &[u8]) -> hmac::Tag {
        let key = derive(self.0.expose(), &Salt::none(HKDF_SHA256), b"header");
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), header)
    }

    fn is_code_of(&self, header: &[u8], code: &[u8]) -> bool {
        portcullis_model::secret::constant_time_eq(self.header_code(header).as_ref(), code)
    }
}

/// Returns the header of a file with this key for these recipients.
pub(super) fn header(file_key: &FileKey, recipients: &[Recipient], random: &Random) -> Vec<u8> {
    let mut header = format!("{VERSION}\n");
    for recipient in recipients {
        let (share, wrapped) = wrap(file_key, recipient, random);
        let (share, wrapped) = (STANDARD_NO_PAD.encode(share), STANDARD_NO_PAD.encode(wrapped));
        header.push_str(&format!("{STANZA}{X25519} {share}\n{wrapped}\n"));
    }
    header.push_str(END);
    let code = STANDARD_NO_PAD.encode(file_key.header_code(header.as_bytes()));
    header.push_str(&format!(" {code}\n"));
    header.into_bytes()
}

/// Reads a header and unwraps the file key with one of the identities.
pub(super) fn open(input: &mut impl BufRead, identities: &[Identity]) -> io::Result<FileKey> {
    let mut lines = Lines { input: input.take(MAX_BYTES), read: Vec::new() };
    if lines.next()? != VERSION {
        return Err(AgeError::Header.into());
    }
    let mut file_key = None;
    let code = loop {
        let line = lines.next()?;
        if let Some(code) = line.strip_prefix(END) {
            break code.strip_prefix(' ').map(decode).ok_or(AgeError::Header)??;
        }
        let arguments = line.strip_prefix(STANZA).ok_or(AgeError::Header)?;
        let mut body = String::new();
        loop {
            let part = lines.next()?;
            body.push_str(&part);
            if part.len() < COLUMNS {
                break;
            }
        }
        if file_key.is_none()
            && let Some(share) = arguments.strip_prefix(X25519)
        {
            let share = decode(share.strip_prefix(' ').ok_or(AgeError::Header)?)?;
            let share: &[u8; KEY_BYTES] = share.as_slice().try_into().map_err(|_| AgeError::Header)?;
            let wrapped = decode(&body)?;
            file_key = identities.iter().find_map(|identity| unwrap(share, &wrapped, identity));
        }
    };
    let file_key = file_key.ok_or(AgeError::NoIdentity)?;
    // The code covers everything up to and with the three hyphens of the last line.
    let last_line = lines.read.len() - 1 - " ".len() - STANDARD_NO_PAD.encode(&code).len();
    match file_key.is_code_of(&lines.read[..last_line], &code) {
        true => Ok(file_key),
        false => Err(AgeError::Altered.into()),
    }
}

fn wrap(file_key: &FileKey, to: &Recipient, random: &Random) -> ([u8; KEY_BYTES], Vec<u8>) {
    let once = Identity::generate(random);
    let share = once.to_recipient().0;
    let secret = once.agree(&to.0).expect("a recipient was checked when it was read");
    let key = aead_key(wrapping_key(&secret, &share, to).expose());
    let mut wrapped = file_key.0.expose().to_vec();
    // The key is used once.
    key.seal_in_place_append_tag(zero_nonce(), Aad::empty(), &mut wrapped).expect("sixteen bytes are within the limit");
    (share, wrapped)
}

fn unwrap(share: &[u8; KEY_BYTES], wrapped: &[u8], identity: &Identity) -> Option<FileKey> {
    let secret = identity.agree(share)?;
    if wrapped.len() != WRAPPED_BYTES {
        return None;
    }
    let key = aead_key(wrapping_key(&secret, share, &identity.to_recipient()).expose());
    let mut buffer = wrapped.to_vec();
    let plain = key.open_in_place(zero_nonce(), Aad::empty(), &mut buffer).ok()?;
    Some(FileKey(SecretBytes::new(&*plain)))
}

fn wrapping_key(secret: &SecretBytes, share: &[u8; KEY_BYTES], recipient: &Recipient) -> SecretBytes {
    let salt = [share.as_slice(), &recipient.0].concat();
    derive(secret.expose(), &Salt::new(HKDF_SHA256, &salt), X25519_INFO)
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn aead_key(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has 32 bytes"))
}

/// The length of every derived key.
struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

fn derive(secret: &[u8], salt: &Salt, info: &[u8]) -> SecretBytes {
    let mut key = vec![0; KeyLength.len()];
    let info = [info];
    let output = salt.extract(secret);
    let output = output.expand(&info, KeyLength).expect("32 bytes are within the limit");
    output.fill(&mut key).expect("the buffer has the length of the key");
    SecretBytes::new(key)
}

fn decode(text: &str) -> Result<Vec<u8>, AgeError> {
    STANDARD_NO_PAD.decode(text).map_err(|_| AgeError::Header)
}

/// The lines of a header, which are kept for its code.
struct Lines<R> {
    input: io::Take<R>,
    read: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> io::Result<String> {
        let begin = self.read.len();
        self.input.read_until(b'\n', &mut self.read)?;
        let line = self.read[begin..].strip_suffix(b"\n").ok_or(AgeError::Header)?;
        Ok(std::str::from_utf8(line).map_err(|_| AgeError::Header)?.to_owned())
    }
}
