//! The output of a program, collected by a thread of its own while the program runs.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One pipe's worth: what a program writes at once is read at once.
const CHUNK: usize = 64 * 1024;

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    ended: bool,
}

/// What was read so far; clones see the same bytes.
#[derive(Clone, Default)]
pub(crate) struct Captured {
    shared: Arc<(Mutex<Buffer>, Condvar)>,
}

impl Captured {
    /// Read `source` to its end in the background.
    pub(crate) fn from(mut source: impl Read + Send + 'static) -> Self {
        let captured = Self::default();
        let writer = captured.clone();
        std::thread::spawn(move || {
            let mut chunk = vec![0; CHUNK];
            // A pseudo-terminal ends with EIO where a pipe ends with 0 bytes.
            while let Ok(count @ 1..) = source.read(&mut chunk) {
                writer.change(|buffer| buffer.bytes.extend_from_slice(&chunk[..count]));
            }
            writer.change(|buffer| buffer.ended = true);
        });
        captured
    }

    /// How much came so far.
    pub(crate) fn length(&self) -> usize {
        self.lock().bytes.len()
    }

    /// Everything read so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// Everything read so far, as a person would see it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Wait for `found` to like the bytes; false when the time was up or the source ended before that.
    pub(crate) fn wait(&self, limit: Duration, found: impl Fn(&[u8]) -> bool) -> bool {
        self.wait_until(limit, |buffer| buffer.ended || found(&buffer.bytes));
        found(&self.lock().bytes)
    }

    /// Wait for the source to end; false when the time was up.
    pub(crate) fn wait_for_end(&self, limit: Duration) -> bool {
        self.wait_until(limit, |buffer| buffer.ended)
    }

    fn wait_until(&self, limit: Duration, done: impl Fn(&Buffer) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut buffer = self.lock();
        while !done(&buffer) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            buffer = self.shared.1.wait_timeout(buffer, left).expect("no reader panics").0;
        }
        true
    }

    fn change(&self, change: impl FnOnce(&mut Buffer)) {
        change(&mut self.lock());
        self.shared.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.shared.0.lock().expect("no reader panics")
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Captured").field(&self.text()).finish()
    }
}

/// Whether `needle` occurs in `haystack`.
pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_to_its_end() {
        let captured = Captured::from(&b"one two"[..]);
        assert!(captured.wait_for_end(Duration::from_secs(5)));
        assert_eq!(captured.bytes(), b"one two");
    }

    #[test]
    fn waiting_for_what_never_comes_ends_with_the_source() {
        let captured = Captured::from(&b"one two"[..]);
        assert!(!captured.wait(Duration::from_secs(60), |bytes| contains(bytes, b"three")));
    }
}
