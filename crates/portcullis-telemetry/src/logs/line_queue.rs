//! A bounded queue of log lines between the threads that log and the one that writes.
//!
//! `docs/dependencies.md` gives the reasons against `tracing-appender`.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of lines that wait to be written. Further lines are dropped: about 4,000 lines are enough for a burst.
const MAX_QUEUED_BYTES: usize = 1 << 20;
/// Bytes that are written at once, as many as a pipe of Linux holds.
const MAX_WRITTEN_BYTES: usize = 64 << 10;
/// How long lines that are not urgent gather before they are written.
const GATHERING: Duration = Duration::from_millis(20);

/// Lines on their way to the log. Adding one never waits for the writing of another.
pub(super) struct LineQueue {
    waiting: Mutex<QueuedLines>,
    /// Tells the writing thread that it has lines again.
    filled: Condvar,
    /// Tells that lines were written.
    written: Condvar,
    /// Counts lines that found no room and lines whose writing failed.
    dropped: &'static AtomicU64,
}

#[derive(Default)]
struct QueuedLines {
    /// Whole lines, one after the other.
    lines: Vec<u8>,
    /// Bytes that were taken to be written and are not written yet.
    taken: usize,
    /// Whether they must be written at once: one of them is urgent, or they are many.
    is_urgent: bool,
    writer: Writer,
}

/// What the writing thread does. Waking it is a system call.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    /// It writes, and will look for lines by itself.
    #[default]
    Writes,
    /// It waits for urgent lines, and will take what there is after a while.
    Gathers,
    /// It waits for a line.
    Idles,
}

impl LineQueue {
    pub(super) fn new(dropped: &'static AtomicU64) -> Self {
        Self { waiting: Mutex::default(), filled: Condvar::new(), written: Condvar::new(), dropped }
    }

    /// Adds a line, or drops and counts it when there is no room. It is written as soon as possible.
    pub(super) fn push(&self, line: &[u8]) {
        self.add(line, true);
    }

    /// Adds a line that is written within 20 ms, or drops and counts it when there is no room. So the writer is not woken
    /// for each line while there are many.
    pub(super) fn push_unhurried(&self, line: &[u8]) {
        self.add(line, false);
    }

    fn add(&self, line: &[u8], is_urgent: bool) {
        let mut waiting = self.waiting();
        if waiting.lines.len() + waiting.taken + line.len() > MAX_QUEUED_BYTES {
            self.count_dropped(1);
            return;
        }
        waiting.lines.extend_from_slice(line);
        waiting.is_urgent |= is_urgent || waiting.lines.len() >= MAX_WRITTEN_BYTES;
        let wakes = match waiting.writer {
            Writer::Writes => false,
            Writer::Gathers => waiting.is_urgent,
            Writer::Idles => true,
        };
        if wakes {
            waiting.writer = Writer::Writes;
            drop(waiting);
            self.filled.notify_one();
        }
    }

    /// Writes lines as they come, for as long as the process lives. Lines that cannot be written are counted.
    pub(super) fn write_to(&self, output: impl Write) -> ! {
        self.write_gathered(output, GATHERING)
    }

    fn write_gathered(&self, mut output: impl Write, gathering: Duration) -> ! {
        let mut lines = Vec::new();
        // Whether the output ends within a line, of which the rest could not be written.
        let mut is_line_broken = false;
        loop {
            self.take(&mut lines);
            let mut begin = 0;
            while begin < lines.len() {
                let left = &lines[begin..lines.len().min(begin + MAX_WRITTEN_BYTES)];
                let done = match write_part(&mut output, left, &mut is_line_broken) {
                    Ok(written) => written,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => {
                        is_line_broken |= begin > 0 && lines[begin - 1] != b'\n';
                        self.count_dropped(1);
                        let end = lines[begin..].iter().position(|byte| *byte == b'\n');
                        end.map_or(lines.len() - begin, |end| end + 1)
                    }
                };
                begin += done;
                self.waiting().taken -= done;
                self.written.notify_all();
            }
            self.gather(gathering);
        }
    }

    /// Waits until everything that was added is written, but no longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let mut waiting = self.waiting();
        waiting.is_urgent |= !waiting.lines.is_empty();
        self.filled.notify_one();
        let is_unwritten = |waiting: &mut QueuedLines| waiting.taken > 0 || !waiting.lines.is_empty();
        let flushed = self.written.wait_timeout_while(waiting, limit, is_unwritten);
        drop(flushed);
    }

    /// Waits until there is an urgent line, but no longer than `limit`.
    fn gather(&self, limit: Duration) {
        let mut waiting = self.waiting();
        waiting.writer = Writer::Gathers;
        drop(self.filled.wait_timeout_while(waiting, limit, |waiting| !waiting.is_urgent));
    }

    /// Waits for lines, and takes all of them.
    fn take(&self, lines: &mut Vec<u8>) {
        lines.clear();
        let mut waiting = self.waiting();
        while waiting.lines.is_empty() {
            waiting.writer = Writer::Idles;
            waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        (waiting.writer, waiting.is_urgent) = (Writer::Writes, false);
        std::mem::swap(&mut waiting.lines, lines);
        waiting.taken = lines.len();
    }

    /// Whether the lines that wait must be written at once.
    #[cfg(test)]
    pub(super) fn is_urgent(&self) -> bool {
        self.waiting().is_urgent
    }

    fn count_dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, QueuedLines> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a part of the lines, and ends a broken line first. Returns how many bytes of the lines were written.
fn write_part(output: &mut impl Write, lines: &[u8], is_line_broken: &mut bool) -> io::Result<usize> {
    let nothing_written = || io::Error::from(io::ErrorKind::WriteZero);
    if *is_line_broken {
        if output.write(b"\n")? == 0 {
            return Err(nothing_written());
        }
        *is_line_broken = false;
    }
    match output.write(lines)? {
        0 => Err(nothing_written()),
        written => Ok(written),
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

    /// Takes one byte at a time, and refuses some of them.
    struct ByteByByte {
        taken: Sender<Vec<u8>>,
        writes: usize,
        refused: std::ops::Range<usize>,
    }

    impl Write for ByteByByte {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes += 1;
            if self.refused.contains(&(self.writes - 1)) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.taken.send(bytes[..1].to_vec()).map_err(io::Error::other)?;
            Ok(1)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What arrives of two lines at a reader that takes a byte at a time and refuses some writes, and how many were dropped.
    fn byte_by_byte(refused: std::ops::Range<usize>) -> (String, u64) {
        let (queue, dropped) = queue();
        queue.push(b"first\n");
        queue.push(b"second\n");
        let (taken, written) = channel();
        start(&queue, ByteByByte { taken, writes: 0, refused });
        queue.flush(Duration::from_secs(60));
        let written: Vec<_> = written.try_iter().flatten().collect();
        (String::from_utf8(written).expect("ASCII"), dropped.load(Ordering::Relaxed))
    }

    #[test]
    fn a_reader_of_single_bytes_gets_whole_lines() {
        assert_eq!(byte_by_byte(0..0), ("first\nsecond\n".to_owned(), 0));
    }

    #[test]
    fn a_line_that_breaks_off_does_not_run_into_the_next() {
        // The disk is full after three bytes, and has room again at the next line.
        assert_eq!(byte_by_byte(3..4), ("fir\nsecond\n".to_owned(), 1));
        // It is still full when the broken line would be ended.
        assert_eq!(byte_by_byte(3..5), ("fir".to_owned(), 2));
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
        let written: Vec<_> = written.try_iter().flatten().collect();
        assert_eq!(String::from_utf8_lossy(&written), "one\ntwo\nthree\n");
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn unhurried_lines_are_written_with_the_next_urgent_one() {
        let (queue, _) = queue();
        let (send, written) = channel();
        let writing = Arc::clone(&queue);
        std::thread::spawn(move || writing.write_gathered(Lines(send), Duration::from_secs(3600)));
        queue.push_unhurried(b"first\n");
        assert_eq!(written.recv().expect("the writer was idle"), b"first\n");
        queue.push_unhurried(b"second\n");
        queue.push_unhurried(b"third\n");
        queue.push(b"urgent\n");
        assert_eq!(String::from_utf8_lossy(&written.recv().expect("a line is urgent")), "second\nthird\nurgent\n");
        queue.push_unhurried(b"last\n");
        queue.flush(Duration::from_secs(60));
        assert_eq!(written.try_recv().expect("flushed"), b"last\n");
        queue.push_unhurried(&[b'x'; MAX_WRITTEN_BYTES]);
        assert_eq!(written.recv().map(|bytes| bytes.len()), Ok(MAX_WRITTEN_BYTES));
    }

    #[test]
    fn unhurried_lines_are_written_after_a_while() {
        let (queue, _) = queue();
        let (send, written) = channel();
        start(&queue, Lines(send));
        for line in [&b"first\n"[..], b"second\n"] {
            queue.push_unhurried(line);
            assert_eq!(written.recv().expect("written"), line);
        }
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
        assert_eq!(queue.waiting().lines, b"stays\n");
    }
}
