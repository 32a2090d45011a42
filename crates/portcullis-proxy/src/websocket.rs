//! WebSocket frames (RFC 6455), as far as a tunnel must know them: where one ends, so that a close frame can be put
//! between two when the gateway ends the conversation.

/// Why the gateway ends a conversation: the status code of its close frame (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The process stops: a client connects again, to another one.
    GoingAway = 1001,
    /// The session ended: a client that connects again is refused.
    PolicyViolation = 1008,
}

impl Close {
    /// As a server sends it.
    pub(crate) fn to_client(self) -> [u8; 4] {
        let [high, low] = (self as u16).to_be_bytes();
        [FINAL_CLOSE, 2, high, low]
    }

    /// As a client sends it, masked. There is nothing to hide in it, so the mask is zero.
    pub(crate) fn to_upstream(self) -> [u8; 8] {
        let [high, low] = (self as u16).to_be_bytes();
        [FINAL_CLOSE, MASKED | 2, 0, 0, 0, 0, high, low]
    }
}

/// The final fragment, opcode 8.
const FINAL_CLOSE: u8 = 0x88;
const MASKED: u8 = 0x80;

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; 14],
    /// Bytes of the header that are there.
    have: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
    /// Whether this side has said its last word.
    closed: bool,
}

impl Frames {
    /// Takes in what was sent.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let now = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= now as u64;
                bytes = &bytes[now..];
                continue;
            }
            self.header[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if self.have == self.header_length() {
                self.closed |= self.header[0] & 0x0f == 8;
                self.left = self.payload_length();
                self.have = 0;
            }
        }
    }

    /// Whether another frame may be put here: between two, and not after the last.
    pub(crate) fn may_close(&self) -> bool {
        self.is_between() && !self.closed
    }

    /// Whether the last frame is whole.
    pub(crate) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    fn header_length(&self) -> usize {
        if self.have < 2 {
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
    fn frames_end_where_they_end_however_they_arrive() {
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
                assert_eq!(frames.may_close(), ends.contains(&sent), "after {sent} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn after_a_close_frame_there_is_no_other() {
        let mut frames = Frames::default();
        assert!(frames.may_close());
        frames.follow(&Close::GoingAway.to_client());
        assert!(frames.is_between() && !frames.may_close());
        let mut frames = Frames::default();
        frames.follow(&Close::PolicyViolation.to_upstream());
        assert!(frames.is_between() && !frames.may_close(), "a masked one is one too");
        assert_eq!(Close::GoingAway.to_client(), [0x88, 2, 0x03, 0xe9]);
    }
}
