//! Systems whose terminals have no termios: raw mode is refused, so that no tool gets half of one.

use std::io;

use wire::frame::Size;

use super::TerminalError;

/// Never made here.
#[derive(Debug)]
pub(crate) enum RawTerminal {}

impl RawTerminal {
    pub(crate) fn enter() -> Result<Self, TerminalError> {
        Err(TerminalError::Unsupported)
    }
}

/// Sizes of a terminal that is not in raw mode are of no interest.
#[derive(Debug)]
pub(crate) struct Resizes(());

impl Resizes {
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(crate) fn watch() -> io::Result<Self> {
        Ok(Self(()))
    }

    pub(crate) async fn next(&mut self) -> Size {
        std::future::pending().await
    }
}
