//! What stdout and stderr have each: one may be a terminal and the other a file.

use crate::stdio::Sink;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByStream<T> {
    pub(crate) stdout: T,
    pub(crate) stderr: T,
}

impl<T> ByStream<T> {
    pub(crate) fn of(&self, stream: Sink) -> &T {
        match stream {
            Sink::Stdout => &self.stdout,
            Sink::Stderr => &self.stderr,
        }
    }

    pub(crate) fn map<U>(&self, make: impl Fn(&T) -> U) -> ByStream<U> {
        ByStream { stdout: make(&self.stdout), stderr: make(&self.stderr) }
    }
}
