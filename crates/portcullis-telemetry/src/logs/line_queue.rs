//! A bounded queue of log lines between the threads that log and the one that writes.
//!
//! `docs/dependencies.md` gives the reasons against `tracing-appender`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of lines that wait to be written. Further lines are dropped: about 4,000 lines are enough for a burst.
const MAX_QUEUED_BYTES: usize = 1 << 20;

/// Lines on their way to the log. Adding one never waits for the writing of another.
pub(super) struct LineQueue {
    waiting: Mutex<QueuedLines>,
    changed: Condvar,
    /// Counts lines that found no room and lines whose writing failed.
    dropped: &'static AtomicU64,
}

#[derive(Default)]
struct QueuedLines {
    lines: VecDeque<Box<[u8]>>,
    /// Bytes of the lines above and of the one that is being written.
    bytes: usize,
}

impl LineQueue {
    pub(super) fn new(dropped: &'static AtomicU64) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), dropped }
    }

    /// Adds a line, or drops and counts it when there is no room.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.bytes + line.len() > MAX_QUEUED_BYTES {
            self.count_dropped();
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.into());
        drop(waiting);
        self.changed.notify_all();
    }

    /// Writes lines as they come, for as long as the process lives. A line that cannot be written is counted.
    pub(super) fn write_to(&self, mut output: impl Write) -> ! {
        loop {
            let line = self.next();
            if output.write_all(&line).is_err() {
                self.count_dropped();
            }
            self.waiting().bytes -= line.len();
            self.changed.notify_all();
        }
    }

    /// Waits until everything that was added is written, but no longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let flushed = self.changed.wait_timeout_while(self.waiting(), limit, |waiting| waiting.bytes > 0);
        drop(flushed);
    }

    fn next(&self) -> Box<[u8]> {
        let mut waiting = self.waiting();
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                return line;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, QueuedLines> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `tracing-subscriber` writes to: each call has one whole line. It never fails and never waits.
impl Write for &LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    fn queue() -> (Arc<LineQueue>, &'static AtomicU64) {
        let dropped: &'static AtomicU64 = Box::leak(Box::default());
        (Arc::new(LineQueue::new(dropped)), dropped)
    }

    fn start(queue: &Arc<LineQueue>, output: impl Write + Send + 'static) {
        let queue = Arc::clone(queue);
        std::thread::spawn(move || queue.write_to(output));
    }

    struct Lines(Sender<Vec<u8>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let (queue, dropped) = queue();
        let (send, written) = channel();
        start(&queue, Lines(send));
        for line in ["one\n", "two\n", "three\n"] {
            queue.push(line.as_bytes());
        }
        queue.flush(Duration::from_secs(60));
        let written: Vec<_> = written.try_iter().collect();
        assert_eq!(written, [b"one\n".to_vec(), b"two\n".to_vec(), b"three\n".to_vec()]);
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn lines_beyond_the_limit_are_dropped_and_counted() {
        let (queue, dropped) = queue();
        let line = vec![b'x'; 1024];
        // Nobody writes.
        for _ in 0..(MAX_QUEUED_BYTES / 1024) + 7 {
            queue.push(&line);
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (queue, dropped) = queue();
        start(&queue, Broken);
        queue.push(b"lost\n");
        queue.push(b"lost too\n");
        queue.flush(Duration::from_secs(60));
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn flushing_gives_up_when_nobody_writes() {
        let (queue, _) = queue();
        queue.push(b"stays\n");
        queue.flush(Duration::from_millis(1));
        assert_eq!(queue.waiting().lines.len(), 1);
    }
}
