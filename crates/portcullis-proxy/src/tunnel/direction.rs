//! One direction of a tunnel. It holds memory only for bytes that were read and cannot be written yet.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::frames::Frames;

/// The most bytes that are copied at once. They are on the stack meanwhile, so that an idle tunnel has no buffer.
const CHUNK: usize = 8 * 1024;

/// One direction of a tunnel.
pub(super) struct Direction {
    frames: Frames,
    /// What was read and is not written yet.
    held: Bytes,
    state: State,
    /// How long the receiver may accept nothing.
    stall: Duration,
    /// Runs while the receiver accepts nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    was_active: bool,
    /// Bytes that the receiver has accepted.
    copied: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Copying,
    /// The sender has ended, or the close frame was sent.
    Ending,
    Ended,
}

impl Direction {
    /// A direction whose sender has sent `early` already.
    pub(super) fn new(early: Bytes, stall: Duration) -> Self {
        let mut frames = Frames::default();
        frames.follow(&early);
        Self { frames, held: early, state: State::Copying, stall, stalled: None, was_active: false, copied: 0 }
    }

    /// The bytes that the receiver has accepted.
    pub(super) fn copied(&self) -> u64 {
        self.copied
    }

    /// Whether bytes were read since this was asked last.
    pub(super) fn take_activity(&mut self) -> bool {
        std::mem::take(&mut self.was_active)
    }

    /// Copies until the sender ends. A receiver that accepts nothing for too long is an error.
    pub(super) fn poll_copy<R, W>(&mut self, from: &mut R, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_held(to, cx))?;
            match self.state {
                State::Copying => ready!(self.poll_read(CHUNK, from, to, cx))?,
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Ended;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Copies to the end of the current frame, sends `close` if a frame may follow, and ends.
    pub(super) fn poll_close<R, W>(
        &mut self,
        close: &[u8],
        from: &mut R,
        to: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while self.state == State::Copying {
            ready!(self.poll_held(to, cx))?;
            if self.frames.is_between() {
                if self.frames.may_close() {
                    self.held = Bytes::copy_from_slice(close);
                }
                self.state = State::Ending;
            } else {
                // Not a byte more than the frame has, so that the close frame can follow it.
                ready!(self.poll_read(self.frames.missing().min(CHUNK), from, to, cx))?;
            }
        }
        self.poll_copy(from, to, cx)
    }

    /// Reads once and writes at once what the receiver accepts.
    fn poll_read<R, W>(&mut self, most: usize, from: &mut R, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut chunk = [const { MaybeUninit::uninit() }; CHUNK];
        let mut buffer = ReadBuf::uninit(&mut chunk[..most]);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            self.state = State::Ending;
            return Poll::Ready(Ok(()));
        }
        self.was_active = true;
        self.frames.follow(read);
        let written = match Pin::new(to).poll_write(cx, read) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.copied += written as u64;
        if written < read.len() {
            self.held = Bytes::copy_from_slice(&read[written..]);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is held.
    fn poll_held<W: AsyncWrite + Unpin>(&mut self, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, &self.held) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.copied += written as u64;
                    self.held.advance(written);
                    self.stalled = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    let limit = self.stall;
                    let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                    ready!(stalled.as_mut().poll(cx));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        // Not an empty part of a larger buffer.
        self.held = Bytes::new();
        Poll::Ready(Ok(()))
    }
}
