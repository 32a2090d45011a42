//! The end of a response's body (RFC 9112 §6.3).

use bytes::{Bytes, BytesMut};

use super::chunked::{BodyPart, Chunks};
use crate::error::UpstreamFault;

/// How a response's body is delimited, and how much of it is left.
#[derive(Debug)]
pub(crate) struct Framing(Kind);

#[derive(Debug)]
enum Kind {
    Length(u64),
    Chunked(Chunks),
    UntilClose,
}

impl Framing {
    /// A response without a body.
    pub(super) fn nothing() -> Self {
        Self::length(0)
    }

    /// A body of this many bytes.
    pub(super) fn length(bytes: u64) -> Self {
        Self(Kind::Length(bytes))
    }

    /// A body in the chunked transfer coding.
    pub(super) fn chunked() -> Self {
        Self(Kind::Chunked(Chunks::default()))
    }

    /// A body that lasts until the connection ends.
    pub(super) fn until_close() -> Self {
        Self(Kind::UntilClose)
    }

    /// The number of bytes that are left, if it is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match &self.0 {
            Kind::Length(left) => Some(*left),
            Kind::Chunked(Chunks::Complete) => Some(0),
            Kind::Chunked(_) | Kind::UntilClose => None,
        }
    }

    /// Whether the end of the connection ends the body.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.0, Kind::UntilClose)
    }

    /// Takes the next part from the bytes that were read.
    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<BodyPart, UpstreamFault> {
        match &mut self.0 {
            Kind::Chunked(chunks) => chunks.next(read),
            Kind::Length(0) => Ok(BodyPart::End),
            Kind::Length(_) | Kind::UntilClose if read.is_empty() => Ok(BodyPart::More),
            Kind::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= taken as u64;
                Ok(BodyPart::Data(read.split_to(taken).freeze()))
            }
            Kind::UntilClose => Ok(BodyPart::Data(read.split().freeze())),
        }
    }

    /// Takes the whole body if all of it was read already.
    pub(super) fn whole(&mut self, read: &mut BytesMut) -> Option<Bytes> {
        let Kind::Length(left) = &mut self.0 else { return None };
        let length = usize::try_from(*left).ok().filter(|length| *length <= read.len())?;
        *left = 0;
        Some(if length == 0 { Bytes::new() } else { read.split_to(length).freeze() })
    }
}
