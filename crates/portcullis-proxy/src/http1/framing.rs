//! Where an answer's body ends (RFC 9112 §6.3).

use bytes::{Bytes, BytesMut};

use super::Broken;
use super::chunked::{Chunks, Next};

/// How an answer's body is delimited, and how much of it is left.
#[derive(Debug)]
pub(crate) struct Framing(Kind);

#[derive(Debug)]
enum Kind {
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

impl Framing {
    /// No body.
    pub(super) fn nothing() -> Self {
        Self::length(0)
    }

    /// So many bytes.
    pub(super) fn length(bytes: u64) -> Self {
        Self(Kind::Length(bytes))
    }

    /// In chunks.
    pub(super) fn chunked() -> Self {
        Self(Kind::Chunked(Chunks::default()))
    }

    /// Whatever comes until the connection ends.
    pub(super) fn until_close() -> Self {
        Self(Kind::UntilClose)
    }

    /// How many bytes are left, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match &self.0 {
            Kind::Length(left) => Some(*left),
            Kind::Chunked(Chunks::Over) => Some(0),
            Kind::Chunked(_) | Kind::UntilClose => None,
        }
    }

    /// Whether the end of the connection ends the body.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.0, Kind::UntilClose)
    }

    /// Takes what it can from the bytes at hand.
    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<Next, Broken> {
        match &mut self.0 {
            Kind::Chunked(chunks) => chunks.next(read),
            Kind::Length(0) => Ok(Next::End),
            Kind::Length(_) | Kind::UntilClose if read.is_empty() => Ok(Next::More),
            Kind::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= taken as u64;
                Ok(Next::Data(read.split_to(taken).freeze()))
            }
            Kind::UntilClose => Ok(Next::Data(read.split().freeze())),
        }
    }

    /// The whole body, if all of it is at hand.
    pub(super) fn whole(&mut self, read: &mut BytesMut) -> Option<Bytes> {
        let Kind::Length(left) = &mut self.0 else { return None };
        let length = usize::try_from(*left).ok().filter(|length| *length <= read.len())?;
        *left = 0;
        Some(if length == 0 { Bytes::new() } else { read.split_to(length).freeze() })
    }
}
