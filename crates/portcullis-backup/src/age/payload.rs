//! The payload of a file: chunks of 64 KiB, each sealed by itself with its number and whether it is the last one (age
//! specification, "Payload").

use std::io::{self, BufRead, Read, Write};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use portcullis_model::Random;

use super::error::AgeError;
use super::header::{self, FileKey};
use super::keys::{Identity, Recipient};

const NONCE_BYTES: usize = 16;
const CHUNK_BYTES: usize = 65_536;
const TAG_BYTES: usize = 16;

/// Encrypts what is written to it. Without [`finish`](Self::finish) the file is incomplete and does not open.
pub(crate) struct Encryptor<W> {
    output: W,
    key: LessSafeKey,
    chunk: Vec<u8>,
    counter: u128,
}

impl<W: Write> Encryptor<W> {
    /// Writes the header of a file to these recipients.
    pub(crate) fn new(mut output: W, recipients: &[Recipient], random: &Random) -> io::Result<Self> {
        let file_key = FileKey::generate(random);
        output.write_all(&header::header(&file_key, recipients, random))?;
        let nonce: [u8; NONCE_BYTES] = random.bytes();
        output.write_all(&nonce)?;
        let chunk = Vec::with_capacity(CHUNK_BYTES + TAG_BYTES);
        Ok(Self { output, key: file_key.payload_key(&nonce), chunk, counter: 0 })
    }

    /// Writes the last chunk.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.output)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let nonce = chunk_nonce(self.counter, last);
        let sealed = self.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut self.chunk);
        sealed.expect("a chunk is within the limit");
        self.output.write_all(&self.chunk)?;
        self.chunk.clear();
        self.counter += 1;
        Ok(())
    }
}

impl<W: Write> Write for Encryptor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits for the next byte, because the last one is sealed in another way.
        if self.chunk.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Keeps what is in the unfinished chunk: a chunk has its full length unless it is the last one.
    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Decrypts what it reads. A chunk is passed on only after it was authenticated, and the end only after the last chunk.
pub(crate) struct Decryptor<R> {
    input: R,
    key: LessSafeKey,
    counter: u128,
    chunk: Vec<u8>,
    /// The bytes of `chunk` that were passed on, and those that are plain text.
    passed: usize,
    plain: usize,
    finished: bool,
}

impl<R: BufRead> Decryptor<R> {
    /// Reads the header, and fails if none of the identities opens it.
    pub(crate) fn new(mut input: R, identities: &[Identity]) -> io::Result<Self> {
        let file_key = header::open(&mut input, identities)?;
        let mut nonce = [0; NONCE_BYTES];
        read_up_to(&mut input, &mut nonce).and_then(|read| match read {
            NONCE_BYTES => Ok(()),
            _ => Err(AgeError::Altered.into()),
        })?;
        let key = file_key.payload_key(&nonce);
        let chunk = vec![0; CHUNK_BYTES + TAG_BYTES];
        Ok(Self { input, key, counter: 0, chunk, passed: 0, plain: 0, finished: false })
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        self.chunk.resize(CHUNK_BYTES + TAG_BYTES, 0);
        let read = read_up_to(&mut self.input, &mut self.chunk)?;
        let last = read < self.chunk.len() || self.input.fill_buf()?.is_empty();
        let nonce = chunk_nonce(self.counter, last);
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut self.chunk[..read]);
        let plain = opened.map_err(|_| AgeError::Altered)?.len();
        if plain == 0 && self.counter > 0 {
            // A last chunk without content would be a second form of the same file.
            return Err(AgeError::Altered.into());
        }
        (self.passed, self.plain, self.finished) = (0, plain, last);
        self.counter += 1;
        Ok(())
    }
}

impl<R: BufRead> Read for Decryptor<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.passed == self.plain {
            if self.finished || out.is_empty() {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let taken = out.len().min(self.plain - self.passed);
        out[..taken].copy_from_slice(&self.chunk[self.passed..self.passed + taken]);
        self.passed += taken;
        Ok(taken)
    }
}

/// Returns the nonce of a chunk: eleven bytes of counter, and whether it is the last one.
fn chunk_nonce(counter: u128, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&((counter << 8) | u128::from(last)).to_be_bytes()[16 - NONCE_LEN..]);
    Nonce::assume_unique_for_key(nonce)
}

/// Reads until the buffer is full or the input ends.
fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match input.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::keys;
    use super::*;

    fn encrypt(plain: &[u8], to: &[Recipient]) -> Vec<u8> {
        let mut encryptor = Encryptor::new(Vec::new(), to, &Random::system()).expect("memory takes everything");
        encryptor.write_all(plain).expect("memory takes everything");
        encryptor.finish().expect("memory takes everything")
    }

    fn decrypt(sealed: &[u8], identities: &[Identity]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Decryptor::new(sealed, identities)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    /// What `age` 1.1.1 made of a line of text.
    const SEALED_BY_AGE: &str = "\
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBnUFBXYTdkWEJXQnExdWFleFJyQlFkMEZCOGFFc2hLQ0xhdTV6RWdjMHgw
Ci85SktHd0tVbjVtU2JxQUdFd1c5QUNZaTdFUzU2YlluckZ4VEJZaDBGRm8KLS0tIEZsZTN0VW1yMEd0V3pwZHg3aGVLY3F4OTZh
NVpmcnN6azZaTDlVU3JUMzgKfmdQCiyMUQk2kii1BsBbeQ5x0eGTPMCqCy3TM712uQbKS2CAWgBAM39tE+7PJC4+BV3JdQ==";

    #[test]
    fn a_file_that_age_made_opens() {
        let sealed = STANDARD.decode(SEALED_BY_AGE.replace('\n', "")).expect("Base64");
        let identity = Identity::parse_file(keys::tests::PRIVATE).expect("an identity");
        assert_eq!(decrypt(&sealed, &identity).expect("it opens"), b"sealed by age 1.1.1\n");
    }

    #[test]
    fn each_recipient_opens_texts_of_any_length() {
        let random = Random::system();
        let pair = [Identity::generate(&random), Identity::generate(&random)];
        let to = [pair[0].to_recipient(), pair[1].to_recipient()];
        for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let plain = vec![7; length];
            let sealed = encrypt(&plain, &to);
            for identity in &pair {
                let opened = decrypt(&sealed, std::slice::from_ref(identity)).expect("it opens");
                assert!(opened == plain, "{length} bytes");
            }
            let other = decrypt(&sealed, &[Identity::generate(&random)]).expect_err("another key");
            assert_eq!(other.to_string(), AgeError::NoIdentity.to_string());
        }
    }

    #[test]
    fn nothing_can_be_changed_or_cut_off() {
        let identity = [Identity::generate(&Random::system())];
        let sealed = encrypt(b"a small text", &[identity[0].to_recipient()]);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(decrypt(&changed, &identity).is_err(), "byte {at} was changed");
            assert!(decrypt(&sealed[..at], &identity).is_err(), "cut to {at} bytes");
        }
        assert!(decrypt(&[&sealed[..], b"x"].concat(), &identity).is_err(), "a byte was added");
    }

    #[test]
    fn whole_chunks_can_be_neither_swapped_nor_cut_off() {
        let identity = [Identity::generate(&Random::system())];
        let sealed = encrypt(&vec![7; 3 * CHUNK_BYTES], &[identity[0].to_recipient()]);
        let first = sealed.len() - 3 * (CHUNK_BYTES + TAG_BYTES);
        let (head, chunks) = sealed.split_at(first);
        let chunks: Vec<&[u8]> = chunks.chunks(CHUNK_BYTES + TAG_BYTES).collect();
        assert!(decrypt(&[head, chunks[1], chunks[0], chunks[2]].concat(), &identity).is_err());
        assert!(decrypt(&[head, chunks[0], chunks[1]].concat(), &identity).is_err());
    }
}
