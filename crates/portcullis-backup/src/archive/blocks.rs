//! Blocks of 64 KiB, each with an authentication code that names its archive, its number and whether it is the last one.

use std::io::{self, Read, Write};

use aws_lc_rs::hmac;

use super::error::ArchiveError;
use super::manifest::{CODE_BYTES, read_part};

/// Bytes of every block but the last one, which may be shorter.
pub(super) const BLOCK_BYTES: usize = 65_536;
/// Keeps the code of a block apart from that of a manifest.
const BLOCK_CODE: u8 = 1;

fn code(key: &hmac::Key, nonce: &str, number: u64, last: bool, block: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(&[BLOCK_CODE]);
    context.update(nonce.as_bytes());
    context.update(&number.to_be_bytes());
    context.update(&[u8::from(last)]);
    context.update(block);
    context.sign()
}

/// Cuts what is written to it into blocks.
pub(super) struct BlockWriter<W> {
    output: W,
    key: hmac::Key,
    nonce: String,
    block: Vec<u8>,
    number: u64,
}

impl<W: Write> BlockWriter<W> {
    pub(super) fn new(output: W, key: &hmac::Key, nonce: &str) -> Self {
        let block = Vec::with_capacity(BLOCK_BYTES);
        Self { output, key: key.clone(), nonce: nonce.to_owned(), block, number: 0 }
    }

    /// Writes the last block. Returns the output and the bytes that were written without the codes.
    pub(super) fn finish(mut self) -> io::Result<(W, u64)> {
        let bytes = self.number * BLOCK_BYTES as u64 + self.block.len() as u64;
        self.write_block(true)?;
        Ok((self.output, bytes))
    }

    fn write_block(&mut self, last: bool) -> io::Result<()> {
        let code = code(&self.key, &self.nonce, self.number, last, &self.block);
        self.output.write_all(&self.block)?;
        self.output.write_all(code.as_ref())?;
        self.block.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: Write> Write for BlockWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full block waits for the next byte, because the code of the last one is another.
        if self.block.len() == BLOCK_BYTES && !bytes.is_empty() {
            self.write_block(false)?;
        }
        let taken = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Reads blocks, and passes each on only after its code was checked.
pub(super) struct BlockReader<R> {
    input: R,
    /// `None` if nothing is to be authenticated.
    key: Option<hmac::Key>,
    nonce: String,
    number: u64,
    /// Bytes of the blocks that were not read yet.
    left: u64,
    block: Vec<u8>,
    passed: usize,
}

impl<R: Read> BlockReader<R> {
    pub(super) fn new(input: R, key: Option<hmac::Key>, nonce: &str, body_bytes: u64) -> Self {
        Self { input, key, nonce: nonce.to_owned(), number: 0, left: body_bytes, block: Vec::new(), passed: 0 }
    }

    fn next_block(&mut self) -> Result<(), ArchiveError> {
        let length = self.left.min(BLOCK_BYTES as u64);
        let last = length == self.left;
        let part = || format!("block {}", self.number + 1);
        self.block.resize(usize::try_from(length).expect("a block is small"), 0);
        read_part(&mut self.input, &mut self.block, &part())?;
        let mut expected = [0; CODE_BYTES];
        read_part(&mut self.input, &mut expected, &part())?;
        if let Some(key) = &self.key {
            let code = code(key, &self.nonce, self.number, last, &self.block);
            if !portcullis_model::secret::constant_time_eq(code.as_ref(), &expected) {
                return Err(ArchiveError::altered(part()));
            }
        }
        if last && self.input.read(&mut [0])? != 0 {
            return Err(ArchiveError::Added);
        }
        self.left -= length;
        self.number += 1;
        self.passed = 0;
        Ok(())
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.passed == self.block.len() {
            if self.left == 0 || out.is_empty() {
                return Ok(0);
            }
            self.next_block()?;
        }
        let taken = out.len().min(self.block.len() - self.passed);
        out[..taken].copy_from_slice(&self.block[self.passed..self.passed + taken]);
        self.passed += taken;
        Ok(taken)
    }
}
