//! Finding the heads in a connection's bytes and judging each (requirement 39).
//!
//! The scanner follows bodies only as far as it needs to know where the next
//! head begins. It holds no more than the beginning of one line.

/// How much of a line is kept: a length's name, its spaces and its twenty digits
/// fit, and so does the one transfer coding that is accepted.
const KEPT: usize = 64;

/// The most bytes of a head, from its request line to the empty line behind it.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadFault {
    /// It can be read in two ways.
    Ambiguous,
    /// It is longer than [`MAX_HEAD_BYTES`].
    TooLarge,
}

/// Looks at a connection's bytes, in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    place: Place,
    /// The beginning of a line whose end has not come.
    partial: Partial,
    head: Head,
    /// How many heads were complete before this one.
    complete: u64,
}

/// Where in the stream the next byte stands.
#[derive(Debug, Default)]
enum Place {
    #[default]
    Head,
    /// In a body, with so many bytes to come.
    Body(u64),
    ChunkSize,
    Trailers,
    /// After an ambiguous head, or after what the parser refuses by itself:
    /// this connection carries no further request.
    Over,
}

/// A line without its LF.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// Of what it begins with, as much as is kept.
    start: &'a [u8],
    length: usize,
    last: u8,
}

/// A line that comes in pieces.
#[derive(Debug)]
struct Partial {
    start: [u8; KEPT],
    length: usize,
    last: u8,
}

impl Default for Partial {
    fn default() -> Self {
        Self { start: [0; KEPT], length: 0, last: 0 }
    }
}

/// What a head has said so far.
#[derive(Debug, Default)]
struct Head {
    begun: bool,
    bytes: usize,
    length: Option<u64>,
    chunked: bool,
    ambiguous: bool,
}

impl HeadScanner {
    /// Takes the next bytes; the number of the first bad head as soon as it is complete.
    pub(crate) fn scan(&mut self, mut bytes: &[u8]) -> Option<(u64, HeadFault)> {
        while !bytes.is_empty() {
            match self.place {
                Place::Over => return None,
                Place::Body(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[taken..];
                    let left = left - taken as u64;
                    if left > 0 {
                        self.place = Place::Body(left);
                    } else {
                        // After a chunk comes the next size, after a whole body the next head.
                        self.place = if self.head.chunked { Place::ChunkSize } else { self.next_head() };
                    }
                }
                Place::Head | Place::ChunkSize | Place::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.partial.extend(bytes);
                        return None;
                    };
                    let whole = &bytes[..end];
                    bytes = &bytes[end + 1..];
                    // Nearly every line comes in one piece: it is looked at where it lies.
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
    pub(crate) fn is_within_head(&self) -> bool {
        matches!(self.place, Place::Head) && (self.head.begun || self.partial.length > 0)
    }

    /// Takes a whole line; what is wrong with the head that it completes.
    fn end_line(&mut self, line: Line<'_>) -> Option<HeadFault> {
        match self.place {
            Place::Head if line.is_empty() && !self.head.begun => {}
            Place::Head if line.is_empty() => {
                self.head.bytes = self.head.bytes.saturating_add(line.length + 1);
                self.head.ambiguous |= line.is_bare();
                return self.end_head();
            }
            Place::Head => self.head.read(line),
            Place::ChunkSize => {
                self.place = match line.chunk_size() {
                    None => Place::Over,
                    Some(0) => Place::Trailers,
                    // The chunk and the line break behind it.
                    Some(size) => Place::Body(size.saturating_add(2)),
                }
            }
            Place::Trailers if line.is_empty() => self.place = self.next_head(),
            Place::Trailers | Place::Body(_) | Place::Over => {}
        }
        None
    }

    fn end_head(&mut self) -> Option<HeadFault> {
        let Head { length, chunked, ambiguous, bytes, .. } = self.head;
        if ambiguous || (chunked && length.is_some()) || bytes > MAX_HEAD_BYTES {
            self.place = Place::Over;
            return Some(if bytes > MAX_HEAD_BYTES { HeadFault::TooLarge } else { HeadFault::Ambiguous });
        }
        self.place = match length {
            _ if chunked => Place::ChunkSize,
            Some(length) if length > 0 => Place::Body(length),
            _ => self.next_head(),
        };
        None
    }

    fn next_head(&mut self) -> Place {
        self.complete += 1;
        self.head = Head::default();
        Place::Head
    }
}

impl Head {
    fn read(&mut self, line: Line<'_>) {
        self.bytes = self.bytes.saturating_add(line.length).saturating_add(1);
        // A bare LF ends a line for some servers and not for others (RFC 9112 §2.2).
        self.ambiguous |= line.is_bare();
        if !self.begun {
            self.begun = true;
            return;
        }
        // obs-fold (§5.2): the line above goes on, for some.
        self.ambiguous |= matches!(line.start.first(), Some(b' ' | b'\t'));
        // Of the names that count one begins with C and one with T.
        if !line
            .start
            .first()
            .is_some_and(|first| matches!(first, b'c' | b'C' | b't' | b'T') || first.is_ascii_whitespace())
        {
            return;
        }
        let Some(colon) = line.kept().iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (&line.kept()[..colon], line.kept()[colon + 1..].trim_ascii());
        // A name with a space before its colon is another name to some servers.
        if name.trim_ascii().eq_ignore_ascii_case(b"content-length") {
            let length = Some(value).filter(|_| line.is_whole() && name.len() == 14).and_then(decimal);
            self.ambiguous |= length.is_none() || self.length.is_some();
            self.length = length;
        } else if name.trim_ascii().eq_ignore_ascii_case(b"transfer-encoding") {
            let alone = line.is_whole() && name.len() == 17 && value.eq_ignore_ascii_case(b"chunked");
            self.ambiguous |= !alone || self.chunked;
            self.chunked = true;
        }
    }
}

impl Partial {
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

    /// The beginning, without the carriage return.
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

    /// The size before the chunk's extensions.
    fn chunk_size(self) -> Option<u64> {
        let digits = self.kept().split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
        let hexadecimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(digits).ok().filter(|_| hexadecimal)?;
        u64::from_str_radix(text, 16).ok()
    }
}

/// Digits and nothing else: no sign, no list.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
         POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;name=value\r\nGET /\r\n0\r\nTrailer: x\r\n\r\n\
         GET /c HTTP/1.1\r\nHost: a\r\n\r\n\
         PUT /d HTTP/1.1\r\nContent-Length: 0\r\n\r\n";

    fn scan(text: &str) -> Option<u64> {
        HeadScanner::default().scan(text.as_bytes()).map(|(number, fault)| {
            assert_eq!(fault, HeadFault::Ambiguous);
            number
        })
    }

    #[test]
    fn sr_39_a_head_that_can_be_read_in_two_ways_is_found() {
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
        assert_eq!(scan(&padded), Some(0), "what does not fit is not guessed");
    }

    #[test]
    fn bodies_are_passed_over_and_the_next_head_is_found() {
        assert_eq!(scan(GOOD), None);
        let smuggled = "GET /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n";
        assert_eq!(scan(&format!("{GOOD}{smuggled}")), Some(4), "the fifth head");
        // What looks like a head inside a body is none.
        let inside = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len());
        assert_eq!(scan(&inside), None);
        let chunk = format!(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:X}\r\n{smuggled}\r\n0\r\n\r\n",
            smuggled.len()
        );
        assert_eq!(scan(&chunk), None);
        assert_eq!(scan(&format!("{chunk}{smuggled}")), Some(1));
    }

    #[test]
    fn a_head_is_too_large_by_the_first_byte_beyond_the_limit() {
        let head = |bytes: usize| {
            let empty = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
            empty.replace("X: ", &format!("X: {}", "x".repeat(bytes - empty.len())))
        };
        let found = |text: String| HeadScanner::default().scan(text.as_bytes());
        assert_eq!(found(head(MAX_HEAD_BYTES)), None);
        assert_eq!(found(head(MAX_HEAD_BYTES + 1)), Some((0, HeadFault::TooLarge)));
        assert_eq!(found(head(100) + &head(MAX_HEAD_BYTES)), None, "each head has its own");
    }

    #[test]
    fn nothing_is_kept_of_a_line_without_an_end() {
        let mut scanner = HeadScanner::default();
        for _ in 0..10_000 {
            assert_eq!(scanner.scan(&[b'a'; 1000]), None);
        }
        assert_eq!(scanner.partial.length, 10_000_000);
    }

    proptest! {
        #[test]
        fn the_size_of_the_pieces_makes_no_difference(cuts in proptest::collection::vec(1usize..40, 1..60)) {
            let text = format!("{GOOD}GET /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
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
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            HeadScanner::default().scan(&bytes);
        }
    }
}
