//! Follows the bytes of a connection message by message and refuses what another parser could read in another way (SR-39).
//!
//! The scanner accepts fewer messages than hyper's parser: it knows where every message that it accepts ends, and hyper
//! sees no byte beyond that end before it has finished the message. It stores at most the first [`KEPT`] bytes of one line.

use portcullis_gate::HeadFault;

use crate::MAX_HEAD_BYTES;

/// How many bytes of a line are kept: enough for the name of a length, spaces and twenty digits, for the one transfer
/// coding that is accepted, and for the size of a chunk with a short extension. A longer size line is refused.
const KEPT: usize = 128;
/// The most bytes of a message's trailers. hyper's limit is the same.
const MAX_TRAILER_BYTES: usize = 16 * 1024;
/// The most digits of a chunk's size: those of 64 bits.
const MAX_SIZE_DIGITS: usize = 16;

/// Scans a connection's bytes in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct MessageScanner {
    position: Position,
    /// The start of a line whose end has not arrived.
    partial: PartialLine,
    head: HeadState,
    trailer_bytes: usize,
    /// How many heads are complete.
    heads: u64,
}

/// How a message's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    None,
    Length,
    Chunked,
}

/// What a piece of the stream contained.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// How many bytes were accepted. The others belong to a later message, or were refused.
    pub(super) taken: usize,
    pub(super) outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The message goes on.
    Incomplete,
    /// A message is complete.
    MessageEnd,
    /// The bytes end with a head that must be refused. Nothing after it belongs to a message.
    FaultyHead(HeadFault),
    /// The bytes after the accepted ones are not a body's framing that every parser reads alike.
    Invalid,
}

/// The part of a message to which the next byte belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    #[default]
    Head,
    /// In a body with this many bytes left.
    Body(u64),
    ChunkSize,
    /// In a chunk with this many bytes left.
    Chunk(u64),
    /// At the CRLF after a chunk.
    ChunkEnd,
    Trailers,
    /// After a faulty head or invalid bytes: this connection carries no further request.
    Over,
}

/// What a whole line means.
enum LineMeaning {
    /// The message goes on.
    Continues,
    MessageEnd,
    FaultyHead(HeadFault),
    Invalid,
}

/// A line without its LF.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// At most the first [`KEPT`] bytes.
    start: &'a [u8],
    length: usize,
    last: u8,
}

/// A line that arrives in pieces. Few do, so it allocates when one does.
#[derive(Debug, Default)]
struct PartialLine {
    start: Vec<u8>,
    length: usize,
    last: u8,
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

impl MessageScanner {
    /// Scans the next bytes, up to the end of the current message.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scanned {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            if rest.is_empty() {
                return Scanned { taken, outcome: Outcome::Incomplete };
            }
            match self.position {
                Position::Over => return Scanned { taken, outcome: Outcome::Invalid },
                Position::Body(left) | Position::Chunk(left) => {
                    let step = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    taken += step;
                    let left = left - step as u64;
                    self.position = match self.position {
                        Position::Body(_) if left == 0 => return self.end_message(taken),
                        Position::Body(_) => Position::Body(left),
                        _ if left == 0 => Position::ChunkEnd,
                        _ => Position::Chunk(left),
                    };
                }
                Position::Head | Position::ChunkSize | Position::ChunkEnd | Position::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        self.partial.extend(rest);
                        if self.is_line_too_long() {
                            return self.refuse(taken);
                        }
                        return Scanned { taken: bytes.len(), outcome: Outcome::Incomplete };
                    };
                    let whole = &rest[..end];
                    // Nearly every line arrives in one piece and is scanned in place.
                    let meaning = if self.partial.length == 0 {
                        self.end_line(Line::of(whole))
                    } else {
                        let mut partial = std::mem::take(&mut self.partial);
                        partial.extend(whole);
                        self.end_line(partial.line())
                    };
                    let after = taken + end + 1;
                    match meaning {
                        LineMeaning::Continues => taken = after,
                        LineMeaning::MessageEnd => return self.end_message(after),
                        LineMeaning::FaultyHead(fault) => {
                            self.position = Position::Over;
                            return Scanned { taken: after, outcome: Outcome::FaultyHead(fault) };
                        }
                        LineMeaning::Invalid => return self.refuse(taken),
                    }
                }
            }
        }
    }

    /// How many heads are complete.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// How the body of the latest head is delimited.
    pub(super) fn body_framing(&self) -> BodyFraming {
        match self.head {
            HeadState { chunked: true, .. } => BodyFraming::Chunked,
            HeadState { length: Some(1..), .. } => BodyFraming::Length,
            HeadState { .. } => BodyFraming::None,
        }
    }

    /// Whether every byte so far belongs to a complete message.
    pub(super) fn is_between_messages(&self) -> bool {
        self.position == Position::Head && self.head.bytes == 0 && self.partial.length == 0
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn is_within_head(&self) -> bool {
        self.position == Position::Head && !self.is_between_messages()
    }

    fn end_message(&mut self, taken: usize) -> Scanned {
        self.position = Position::Head;
        self.head = HeadState { length: self.head.length, chunked: self.head.chunked, ..HeadState::default() };
        self.trailer_bytes = 0;
        Scanned { taken, outcome: Outcome::MessageEnd }
    }

    fn refuse(&mut self, taken: usize) -> Scanned {
        self.position = Position::Over;
        Scanned { taken, outcome: Outcome::Invalid }
    }

    /// Whether a line that has not ended is longer than any that is accepted. The parser limits a head itself.
    fn is_line_too_long(&self) -> bool {
        match self.position {
            Position::ChunkSize | Position::ChunkEnd => self.partial.length > KEPT,
            Position::Trailers => self.partial.length + self.trailer_bytes > MAX_TRAILER_BYTES,
            _ => false,
        }
    }

    fn end_line(&mut self, line: Line<'_>) -> LineMeaning {
        match self.position {
            Position::Head => return self.head_line(line),
            Position::ChunkSize => {
                let Some(size) = line.chunk_size() else { return LineMeaning::Invalid };
                self.position = if size == 0 { Position::Trailers } else { Position::Chunk(size) };
            }
            Position::ChunkEnd if line.is_crlf() => self.position = Position::ChunkSize,
            Position::Trailers if line.is_crlf() => return LineMeaning::MessageEnd,
            Position::Trailers => {
                self.trailer_bytes = self.trailer_bytes.saturating_add(line.length + 1);
                if line.is_bare() || line.is_folded() || self.trailer_bytes > MAX_TRAILER_BYTES {
                    return LineMeaning::Invalid;
                }
            }
            Position::ChunkEnd | Position::Body(_) | Position::Chunk(_) | Position::Over => {
                return LineMeaning::Invalid;
            }
        }
        LineMeaning::Continues
    }

    fn head_line(&mut self, line: Line<'_>) -> LineMeaning {
        if self.head.bytes == 0 {
            self.head = HeadState::default();
        }
        self.head.bytes = self.head.bytes.saturating_add(line.length).saturating_add(1);
        // A bare LF ends a line for some servers and not for others (RFC 9112 §2.2).
        self.head.ambiguous |= line.is_bare();
        match (line.is_empty(), self.head.begun) {
            // Empty lines before a request are ignored (RFC 9112 §2.2).
            (true, false) => LineMeaning::Continues,
            (true, true) => self.end_head(),
            (false, false) => {
                self.head.begun = true;
                LineMeaning::Continues
            }
            (false, true) => {
                self.head.read_field(line);
                LineMeaning::Continues
            }
        }
    }

    fn end_head(&mut self) -> LineMeaning {
        self.heads += 1;
        let HeadState { length, chunked, ambiguous, bytes, .. } = self.head;
        if bytes > MAX_HEAD_BYTES {
            return LineMeaning::FaultyHead(HeadFault::TooLarge);
        }
        if ambiguous || (chunked && length.is_some()) {
            return LineMeaning::FaultyHead(HeadFault::Ambiguous);
        }
        self.position = match length {
            _ if chunked => Position::ChunkSize,
            Some(length @ 1..) => Position::Body(length),
            _ => return LineMeaning::MessageEnd,
        };
        LineMeaning::Continues
    }
}

impl HeadState {
    fn read_field(&mut self, line: Line<'_>) {
        // obs-fold (RFC 9112 §5.2): some servers read it as part of the previous line.
        self.ambiguous |= line.is_folded();
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
        let room = (KEPT - self.start.len()).min(bytes.len());
        self.start.extend_from_slice(&bytes[..room]);
        self.length = self.length.saturating_add(bytes.len());
        self.last = *last;
    }

    fn line(&self) -> Line<'_> {
        Line { start: &self.start, length: self.length, last: self.last }
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
        self.length == 0 || self.is_crlf()
    }

    fn is_crlf(self) -> bool {
        self.length == 1 && self.last == b'\r'
    }

    fn is_folded(self) -> bool {
        matches!(self.start.first(), Some(b' ' | b'\t'))
    }

    /// The chunk's size. `None` unless the line has the form of RFC 9112 §7.1, with spaces before the extensions at most.
    fn chunk_size(self) -> Option<u64> {
        let text = self.start.strip_suffix(b"\r").filter(|_| self.is_whole())?;
        let digits = text.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(digits);
        let extensions = rest.trim_ascii_start();
        let has_extensions = matches!(extensions.first(), None | Some(b';'));
        let is_text = rest.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
        if digits.len() > MAX_SIZE_DIGITS || !has_extensions || !is_text {
            return None;
        }
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

/// Parses digits only: no sign, no list.
fn decimal(text: &[u8]) -> Option<u64> {
    let is_decimal = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_decimal)?.parse().ok()
}

#[cfg(test)]
mod tests;
