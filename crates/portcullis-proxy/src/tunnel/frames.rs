//! WebSocket frames (RFC 6455). A tunnel follows them to know where a frame ends, so that it can insert a close frame there.

/// The reason why the gateway ends a tunnel, as the status code of its close frame (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The process stops. A client connects again, to another process.
    GoingAway = 1001,
    /// The session ended or the right was lost. A client that connects again is refused.
    PolicyViolation = 1008,
    /// The session cannot be looked up at the moment (RFC 6455's registry of close codes).
    TryAgainLater = 1013,
}

impl CloseReason {
    /// The close frame of a server.
    pub(crate) fn to_client(self) -> [u8; 4] {
        let [high, low] = (self as u16).to_be_bytes();
        [FINAL_CLOSE, 2, high, low]
    }

    /// The close frame of a client. It must be masked, and the mask may be zero.
    pub(crate) fn to_upstream(self) -> [u8; 8] {
        let [high, low] = (self as u16).to_be_bytes();
        [FINAL_CLOSE, MASKED | 2, 0, 0, 0, 0, high, low]
    }
}

/// A final fragment with opcode 8 (close).
const FINAL_CLOSE: u8 = 0x88;
const MASKED: u8 = 0x80;

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; 14],
    /// The number of bytes of the header that were seen.
    header_bytes: usize,
    /// The number of bytes of the payload that are still to come.
    payload_left: u64,
    /// Whether a close frame was seen, after which no frame may follow.
    closed: bool,
}

impl Frames {
    /// Follows the bytes that were sent.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let now = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_left -= now as u64;
                bytes = &bytes[now..];
                continue;
            }
            self.header[self.header_bytes] = bytes[0];
            self.header_bytes += 1;
            bytes = &bytes[1..];
            if self.header_bytes == self.header_length() {
                self.closed |= self.header[0] & 0x0f == 8;
                self.payload_left = self.payload_length();
                self.header_bytes = 0;
            }
        }
    }

    /// Whether a close frame may be sent now: the last frame is complete and was not a close frame.
    pub(crate) fn may_close(&self) -> bool {
        self.is_between() && !self.closed
    }

    /// Whether the last frame is complete.
    pub(crate) fn is_between(&self) -> bool {
        self.header_bytes == 0 && self.payload_left == 0
    }

    /// How many bytes are certainly missing until the last frame is complete.
    pub(crate) fn missing(&self) -> usize {
        if self.is_between() {
            return 0;
        }
        // Within a header the payload's length is not known yet.
        let header = if self.payload_left > 0 { 0 } else { self.header_length() - self.header_bytes };
        header.saturating_add(usize::try_from(self.payload_left).unwrap_or(usize::MAX))
    }

    fn header_length(&self) -> usize {
        if self.header_bytes < 2 {
            return 2;
        }
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & MASKED != 0 { 4 } else { 0 };
        2 + extended + mask
    }

    fn payload_length(&self) -> u64 {
        let extended = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        match self.header[1] & 0x7f {
            126 => extended(&self.header[2..4]),
            127 => extended(&self.header[2..10]),
            short => u64::from(short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, payload: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut bytes = vec![0x80 | opcode];
        match payload {
            0..=125 => bytes.push(mask | u8::try_from(payload).expect("small")),
            126..=65_535 => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(payload).expect("16 bits").to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        bytes.resize(bytes.len() + payload, 0x88);
        bytes
    }

    #[test]
    fn the_end_of_a_frame_is_found_in_pieces_of_any_size() {
        let whole: Vec<Vec<u8>> = [(1, 0, true), (2, 5, false), (1, 125, true), (1, 126, false), (2, 70_000, true)]
            .into_iter()
            .map(|(opcode, payload, masked)| frame(opcode, payload, masked))
            .collect();
        let ends: Vec<usize> = whole
            .iter()
            .scan(0, |sum, frame| {
                *sum += frame.len();
                Some(*sum)
            })
            .collect();
        let all = whole.concat();
        for piece in [1, 2, 3, 7, 100, all.len()] {
            let mut frames = Frames::default();
            let mut sent = 0;
            for bytes in all.chunks(piece) {
                frames.follow(bytes);
                sent += bytes.len();
                let end = ends.iter().find(|end| **end >= sent).copied().unwrap_or(sent);
                assert!(frames.missing() <= end - sent, "after {sent}: {} of {}", frames.missing(), end - sent);
                assert_eq!(frames.missing() == 0, end == sent, "after {sent}");
                assert_eq!(frames.may_close(), ends.contains(&sent), "after {sent} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn no_frame_follows_a_close_frame() {
        let mut frames = Frames::default();
        assert!(frames.may_close());
        frames.follow(&CloseReason::GoingAway.to_client());
        assert!(frames.is_between() && !frames.may_close());
        let mut frames = Frames::default();
        frames.follow(&CloseReason::PolicyViolation.to_upstream());
        assert!(frames.is_between() && !frames.may_close(), "a masked one counts too");
        assert_eq!(CloseReason::GoingAway.to_client(), [0x88, 2, 0x03, 0xe9]);
    }
}
