//! Decoding the chunked transfer coding (RFC 9112 §7.1).

use bytes::{Buf, Bytes, BytesMut};

use crate::error::UpstreamFault;

/// The longest line with a chunk's size and extensions, and the largest trailer section, in bytes.
const MAX_LINE: usize = 16 * 1024;

/// The state of a chunked body that is being read.
#[derive(Debug, Default)]
pub(super) enum Chunks {
    /// The line with a chunk's size comes next.
    #[default]
    Size,
    /// This many bytes of the chunk are still to come.
    Data(u64),
    /// The line break after a chunk comes next.
    Break,
    /// The trailer section, of which this many bytes were read. Trailers are dropped, as `Trailer` is.
    Trailers(usize),
    /// The body is complete.
    Complete,
}

/// The next part of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyPart {
    /// A part of the body's data.
    Data(Bytes),
    /// More bytes have to be read first.
    More,
    /// The body is complete.
    End,
}

impl Chunks {
    /// Takes the next part from the bytes that were read.
    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<BodyPart, UpstreamFault> {
        loop {
            match self {
                Self::Size => {
                    let Some(line) = line(read, MAX_LINE)? else { return Ok(BodyPart::More) };
                    *self = match size(&line)? {
                        0 => Self::Trailers(0),
                        size => Self::Data(size),
                    };
                }
                Self::Data(_) if read.is_empty() => return Ok(BodyPart::More),
                Self::Data(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                    *left -= taken as u64;
                    if *left == 0 {
                        *self = Self::Break;
                    }
                    return Ok(BodyPart::Data(read.split_to(taken).freeze()));
                }
                Self::Break => match read.get(..2) {
                    None => return Ok(BodyPart::More),
                    Some(b"\r\n") => {
                        read.advance(2);
                        *self = Self::Size;
                    }
                    Some(_) => return Err(UpstreamFault::Chunk),
                },
                Self::Trailers(seen) => {
                    let Some(line) = line(read, MAX_LINE.saturating_sub(*seen))? else { return Ok(BodyPart::More) };
                    *seen += line.len() + 2;
                    if line.is_empty() {
                        *self = Self::Complete;
                    }
                }
                Self::Complete => return Ok(BodyPart::End),
            }
        }
    }
}

/// Takes a line without its line break. `None` until all of it has arrived.
fn line(read: &mut BytesMut, longest: usize) -> Result<Option<BytesMut>, UpstreamFault> {
    let seen = &read[..read.len().min(longest)];
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return if read.len() < longest { Ok(None) } else { Err(UpstreamFault::Chunk) };
    };
    let mut line = read.split_to(end + 1);
    // Only some implementations end a line at a bare LF.
    if !line.ends_with(b"\r\n") {
        return Err(UpstreamFault::Chunk);
    }
    line.truncate(end - 1);
    Ok(Some(line))
}

/// Reads the size of a chunk. Extensions are ignored.
fn size(line: &[u8]) -> Result<u64, UpstreamFault> {
    let end = line.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t')).unwrap_or(line.len());
    let digits = std::str::from_utf8(&line[..end]).map_err(|_| UpstreamFault::Chunk)?;
    // `from_str_radix` would accept a sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(UpstreamFault::Chunk);
    }
    u64::from_str_radix(digits, 16).map_err(|_| UpstreamFault::Chunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body that arrives in these pieces, and the bytes after it.
    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>), UpstreamFault> {
        let (mut chunks, mut buffer, mut body) = (Chunks::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match chunks.next(&mut buffer)? {
                    BodyPart::Data(data) => body.extend_from_slice(&data),
                    BodyPart::More => break,
                    BodyPart::End => return Ok((body, buffer.to_vec())),
                }
            }
        }
        Err(UpstreamFault::Closed)
    }

    #[test]
    fn extensions_and_trailers_are_dropped_and_the_rest_stays() {
        let body = b"4;name=\"value\"\r\nWiki\r\n00A \r\n0123456789\r\n0\r\nExpires: never\r\n\r\nHTTP/1.1";
        let (body, rest) = read(&[body]).expect("it is whole");
        assert_eq!((&*body, &*rest), (&b"Wiki0123456789"[..], &b"HTTP/1.1"[..]));
    }

    #[test]
    fn a_malformed_chunk_is_refused() {
        let long = [b"1;".as_slice(), &vec![b'x'; MAX_LINE], b"\r\n"].concat();
        let trailers = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(MAX_LINE / 6 + 1)].concat();
        for bytes in [
            b"\r\n".as_slice(),
            b"g\r\n",
            b"+4\r\n",
            b"-1\r\n",
            b"0x4\r\n",
            b"4\nWiki\r\n",
            b"10000000000000000\r\n",
            b"4\r\nWikipedia",
            b"4\r\nWiki\n0\r\n\r\n",
            b"0\r\n\n",
            &long,
            &trailers,
        ] {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]);
            assert!(matches!(read(&[bytes]), Err(UpstreamFault::Chunk)), "{shown:?}");
        }
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_in_pieces_of_any_size(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\nX: y\r\n\r\nrest");
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            ends.extend([0, wire.len()]);
            ends.sort_unstable();
            let pieces: Vec<&[u8]> = ends.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
            let (body, rest) = read(&pieces).expect("it is whole");
            prop_assert_eq!(body, chunks.concat());
            prop_assert!(b"rest".starts_with(&rest[..]));
        }
    }
}
