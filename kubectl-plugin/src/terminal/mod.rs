//! The person's terminal while a tool on the other side owns it: raw mode, and its size.
//!
//! No key and no escape sequence is interpreted here: bytes go through as they are.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::{RawTerminal, Resizes};

#[cfg(not(unix))]
mod other;
#[cfg(not(unix))]
pub(crate) use other::{RawTerminal, Resizes};

#[derive(Debug, thiserror::Error)]
pub(crate) enum TerminalError {
    #[cfg(unix)]
    #[error("cannot set the terminal on stdin to raw mode")]
    Raw(#[source] std::io::Error),
    #[cfg(not(unix))]
    #[error(
        "terminals are not supported on this system: give a command after `--` without -t, or use -i with a shell"
    )]
    Unsupported,
}
