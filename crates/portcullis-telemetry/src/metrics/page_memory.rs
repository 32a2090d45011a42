//! The memory of the last page, for the next one. A page has up to several megabytes, and new memory of that size costs a
//! page fault for every 4 KB.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// What is kept until there is a longer page, in bytes.
const SMALLEST: usize = 16 * 1024;

/// Memory for a page, unless a page is using it.
#[derive(Clone, Default)]
pub(super) struct PageMemory(Arc<Mutex<String>>);

impl PageMemory {
    /// Takes the memory, or new memory while another page uses it.
    pub(super) fn take(&self) -> String {
        let mut text = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        text.clear();
        text.reserve(SMALLEST);
        text
    }

    /// Makes a body of a page. Its memory comes back when the body has been sent.
    pub(super) fn lend(&self, text: String) -> Bytes {
        Bytes::from_owner(Lent { text, memory: self.clone() })
    }

    fn give_back(&self, text: String) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if text.capacity() > kept.capacity() {
            *kept = text;
        }
    }
}

struct Lent {
    text: String,
    memory: PageMemory,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.memory.give_back(std::mem::take(&mut self.text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(memory: &PageMemory, line: &str) -> Bytes {
        let mut text = memory.take();
        assert_eq!(text, "", "nothing of another page is left");
        text.push_str(line);
        memory.lend(text)
    }

    #[test]
    fn a_page_that_was_sent_leaves_its_memory_to_the_next() {
        let memory = PageMemory::default();
        let first = page(&memory, &"x".repeat(100_000));
        let address = first.as_ptr();
        drop(first);
        assert_eq!(page(&memory, "y").as_ptr(), address);
    }

    #[test]
    fn pages_at_the_same_time_have_their_own_memory() {
        let memory = PageMemory::default();
        let (first, second) = (page(&memory, "first"), page(&memory, "second"));
        assert_eq!((&first[..], &second[..]), (&b"first"[..], &b"second"[..]));
    }
}
