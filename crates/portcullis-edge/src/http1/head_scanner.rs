//! Finds the request heads in a connection's bytes and checks each for a [`HeadFault`] (SR-39).
//!
//! The scanner follows bodies only to find where the next head begins. It stores at most the first [`KEPT`] bytes of one
//! line.

use portcullis_gate::HeadFault;

use crate::MAX_HEAD_BYTES;

/// How many bytes of a line are kept: enough for the name of a length, spaces and twenty digits, and for the one
/// transfer coding that is accepted.
const KEPT: usize = 64;

/// Scans a connection's bytes in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct HeadScanner {
    position: Position,
    /// The start of a line whose end has not arrived.
    partial: PartialLine,
    head: HeadState,
    /// How many heads were complete before this one.
    complete: u64,
}

/// The part of a message to which the next byte belongs.
#[derive(Debug, Default)]
enum Position {
    #[default]
    Head,
    /// In a body or chunk with this many bytes left.
    Body(u64),
    ChunkSize,
    Trailers,
    /// After a faulty head, or after bytes that the parser rejects: this connection carries no further request.
    Over,
}

/// A line without its LF.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// At most the first [`KEPT`] bytes.
    start: &'a [u8],
    length: usize,
    last: u8,
}

/// A line that arrives in pieces.
#[derive(Debug)]
struct PartialLine {
    start: [u8; KEPT],
    length: usize,
    last: u8,
}

impl Default for PartialLine {
    fn default() -> Self {
        Self { start: [0; KEPT], length: 0, last: 0 }
    }
}

/// The fields read so far that decide the head's framing and size.
#[derive(Debug, Default)]
struct HeadState {
    begun: bool,
    bytes: usize,
    length: Option<u64>,
    chunked: bool,
    ambiguous: bool,
}

impl HeadScanner {
    /// Scans the next bytes. Returns the number and the fault of the first faulty head as soon as it is complete.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> Option<(u64, HeadFault)> {
        while !bytes.is_empty() {
            match self.position {
                Position::Over => return None,
                Position::Body(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[taken..];
                    let left = left - taken as u64;
                    if left > 0 {
                        self.position = Position::Body(left);
                    } else {
                        // A chunk is followed by the next size, a whole body by the next head.
                        self.position = if self.head.chunked { Position::ChunkSize } else { self.next_head() };
                    }
                }
                Position::Head | Position::ChunkSize | Position::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.partial.extend(bytes);
                        return None;
                    };
                    let whole = &bytes[..end];
                    bytes = &bytes[end + 1..];
                    // Nearly every line arrives in one piece and is scanned in place.
                    let fault = if self.partial.length == 0 {
                        self.end_line(Line::of(whole))
                    } else {
                        let mut partial = std::mem::take(&mut self.partial);
                        partial.extend(whole);
                        self.end_line(partial.line())
                    };
                    if let Some(fault) = fault {
                        return Some((self.complete, fault));
                    }
                }
            }
        }
        None
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn is_within_head(&self) -> bool {
        matches!(self.position, Position::Head) && (self.head.begun || self.partial.length > 0)
    }

    /// Reads a whole line. Returns the fault of the head that it completes.
    fn end_line(&mut self, line: Line<'_>) -> Option<HeadFault> {
        match self.position {
            Position::Head if line.is_empty() && !self.head.begun => {}
            Position::Head if line.is_empty() => {
                self.head.bytes = self.head.bytes.saturating_add(line.length + 1);
                self.head.ambiguous |= line.is_bare();
                return self.end_head();
            }
            Position::Head => self.head.read(line),
            Position::ChunkSize => {
                self.position = match line.chunk_size() {
                    None => Position::Over,
                    Some(0) => Position::Trailers,
                    // The chunk and its CRLF.
                    Some(size) => Position::Body(size.saturating_add(2)),
                }
            }
            Position::Trailers if line.is_empty() => self.position = self.next_head(),
            Position::Trailers | Position::Body(_) | Position::Over => {}
        }
        None
    }

    fn end_head(&mut self) -> Option<HeadFault> {
        let HeadState { length, chunked, ambiguous, bytes, .. } = self.head;
        if ambiguous || (chunked && length.is_some()) || bytes > MAX_HEAD_BYTES {
            self.position = Position::Over;
            return Some(if bytes > MAX_HEAD_BYTES { HeadFault::TooLarge } else { HeadFault::Ambiguous });
        }
        self.position = match length {
            _ if chunked => Position::ChunkSize,
            Some(length) if length > 0 => Position::Body(length),
            _ => self.next_head(),
        };
        None
    }

    fn next_head(&mut self) -> Position {
        self.complete += 1;
        self.head = HeadState::default();
        Position::Head
    }
}

impl HeadState {
    fn read(&mut self, line: Line<'_>) {
        self.bytes = self.bytes.saturating_add(line.length).saturating_add(1);
        // A bare LF ends a line for some servers and not for others (RFC 9112 §2.2).
        self.ambiguous |= line.is_bare();
        if !self.begun {
            self.begun = true;
            return;
        }
        // obs-fold (§5.2): some servers read it as part of the previous line.
        self.ambiguous |= matches!(line.start.first(), Some(b' ' | b'\t'));
        // The two names that matter begin with C and T.
        if !line
            .start
            .first()
            .is_some_and(|first| matches!(first, b'c' | b'C' | b't' | b'T') || first.is_ascii_whitespace())
        {
            return;
        }
        let Some(colon) = line.kept().iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (&line.kept()[..colon], line.kept()[colon + 1..].trim_ascii());
        // Some servers read a name with a space before its colon as another name.
        if name.trim_ascii().eq_ignore_ascii_case(b"content-length") {
            let length = Some(value).filter(|_| line.is_whole() && name.len() == 14).and_then(decimal);
            self.ambiguous |= length.is_none() || self.length.is_some();
            self.length = length;
        } else if name.trim_ascii().eq_ignore_ascii_case(b"transfer-encoding") {
            let is_only_coding = line.is_whole() && name.len() == 17 && value.eq_ignore_ascii_case(b"chunked");
            self.ambiguous |= !is_only_coding || self.chunked;
            self.chunked = true;
        }
    }
}

impl PartialLine {
    fn extend(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        let kept = self.length.min(KEPT);
        let room = (KEPT - kept).min(bytes.len());
        self.start[kept..kept + room].copy_from_slice(&bytes[..room]);
        self.length = self.length.saturating_add(bytes.len());
        self.last = *last;
    }

    fn line(&self) -> Line<'_> {
        Line { start: &self.start[..self.length.min(KEPT)], length: self.length, last: self.last }
    }
}

impl<'a> Line<'a> {
    fn of(whole: &'a [u8]) -> Self {
        let start = &whole[..whole.len().min(KEPT)];
        Self { start, length: whole.len(), last: whole.last().copied().unwrap_or_default() }
    }

    /// The kept bytes without the carriage return.
    fn kept(self) -> &'a [u8] {
        if self.is_whole() { self.start.strip_suffix(b"\r").unwrap_or(self.start) } else { self.start }
    }

    fn is_whole(self) -> bool {
        self.length <= KEPT
    }

    fn is_bare(self) -> bool {
        self.last != b'\r'
    }

    fn is_empty(self) -> bool {
        self.length == 0 || (self.length == 1 && self.last == b'\r')
    }

    /// The chunk's size, without its extensions.
    fn chunk_size(self) -> Option<u64> {
        let digits = self.kept().split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
        let is_hexadecimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(digits).ok().filter(|_| is_hexadecimal)?;
        u64::from_str_radix(text, 16).ok()
    }
}

/// Parses digits only: no sign, no list.
fn decimal(text: &[u8]) -> Option<u64> {
    let is_decimal = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_decimal)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Four valid requests.
    const VALID: &str = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
         POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;name=value\r\nGET /\r\n0\r\nTrailer: x\r\n\r\n\
         GET /c HTTP/1.1\r\nHost: a\r\n\r\n\
         PUT /d HTTP/1.1\r\nContent-Length: 0\r\n\r\n";

    const AMBIGUOUS: &str = "GET /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n";

    /// The number of the first ambiguous head.
    fn scan(text: &str) -> Option<u64> {
        HeadScanner::default().scan(text.as_bytes()).map(|(number, fault)| {
            assert_eq!(fault, HeadFault::Ambiguous);
            number
        })
    }

    #[test]
    fn sr_39_an_ambiguous_head_is_found() {
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-LENGTH:5\r\nTRANSFER-encoding:chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: -0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length : 5\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
            "POST / HTTP/1.1\r\nX: a\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\nX: a\r\n\r\n",
            "POST / HTTP/1.1\r\nX: a\r\n\n",
        ] {
            assert_eq!(scan(head), Some(0), "{head:?}");
        }
        let padded = format!("POST / HTTP/1.1\r\nContent-Length:{}5\r\n\r\n", " ".repeat(100));
        assert_eq!(scan(&padded), Some(0), "a length beyond the kept bytes is ambiguous");
    }

    #[test]
    fn the_head_after_several_bodies_is_scanned() {
        assert_eq!(scan(VALID), None);
        assert_eq!(scan(&format!("{VALID}{AMBIGUOUS}")), Some(4), "the fifth head");
    }

    #[test]
    fn an_ambiguous_head_inside_a_body_is_ignored() {
        let body = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{AMBIGUOUS}", AMBIGUOUS.len());
        assert_eq!(scan(&body), None);
    }

    #[test]
    fn an_ambiguous_head_inside_a_chunk_is_ignored() {
        let chunk = format!(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:X}\r\n{AMBIGUOUS}\r\n0\r\n\r\n",
            AMBIGUOUS.len()
        );
        assert_eq!(scan(&chunk), None);
        assert_eq!(scan(&format!("{chunk}{AMBIGUOUS}")), Some(1), "the head after the chunks");
    }

    #[test]
    fn sr_40_one_byte_over_the_limit_is_too_large() {
        let head = |bytes: usize| {
            let empty = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
            empty.replace("X: ", &format!("X: {}", "x".repeat(bytes - empty.len())))
        };
        let found = |text: String| HeadScanner::default().scan(text.as_bytes());
        assert_eq!(found(head(MAX_HEAD_BYTES)), None);
        assert_eq!(found(head(MAX_HEAD_BYTES + 1)), Some((0, HeadFault::TooLarge)));
        assert_eq!(found(head(100) + &head(MAX_HEAD_BYTES)), None, "each head is counted by itself");
    }

    #[test]
    fn a_line_without_an_end_is_not_stored() {
        let mut scanner = HeadScanner::default();
        for _ in 0..10_000 {
            assert_eq!(scanner.scan(&[b'a'; 1000]), None);
        }
        assert_eq!(scanner.partial.length, 10_000_000);
    }

    proptest! {
        #[test]
        fn the_size_of_the_pieces_does_not_matter(cuts in proptest::collection::vec(1usize..40, 1..60)) {
            let text = format!("{VALID}GET /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
            let (mut scanner, mut rest, mut found) = (HeadScanner::default(), text.as_bytes(), None);
            for cut in cuts.into_iter().cycle() {
                let (piece, later) = rest.split_at(cut.min(rest.len()));
                found = found.or(scanner.scan(piece).map(|(number, _)| number));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, Some(4));
        }

        #[test]
        fn no_bytes_make_the_scanner_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            HeadScanner::default().scan(&bytes);
        }
    }
}
