//! Our ends of the tool's streams, under the runtime.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use wire::frame::Size;

use super::Ends;
use super::output::Output;
use super::watched::{Doubt, watched};

/// Where input goes.
#[derive(Debug)]
pub(super) enum Input {
    Pipe(pipe::Sender),
    Terminal(Arc<AsyncFd<OwnedFd>>),
    /// Not asked for, or the tool no longer wants any: what comes is dropped.
    Closed,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) stdin: Input,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    pub(super) terminal: Option<Arc<AsyncFd<OwnedFd>>>,
}

impl Streams {
    /// Registers `ends` with the runtime.
    pub(super) fn watch(ends: Ends) -> io::Result<Self> {
        match ends {
            Ends::Pipes { stdin, stdout, stderr } => {
                let input = stdin.map(pipe::Sender::from_owned_fd).transpose()?;
                Ok(Self {
                    stdin: input.map_or(Input::Closed, Input::Pipe),
                    stdout: Output::of_pipe(stdout)?,
                    stderr: Output::of_pipe(stderr)?,
                    terminal: None,
                })
            }
            Ends::Terminal { ours, stdin } => {
                fcntl_setfl(&ours, fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
                let terminal = Arc::new(watched(ours)?);
                let input =
                    if stdin { Input::Terminal(Arc::clone(&terminal)) } else { Input::Closed };
                Ok(Self {
                    stdin: input,
                    stdout: Output::of_terminal(Arc::clone(&terminal)),
                    stderr: Output::CLOSED,
                    terminal: Some(terminal),
                })
            }
        }
    }
}

impl Input {
    /// Writes all of `bytes`, waiting for the tool to take them.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) {
        let mut doubt = Doubt::default();
        while !bytes.is_empty() {
            match self.write_some(bytes).await {
                Ok(written @ 1..) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    doubt = Doubt::default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    doubt.tried_in_vain().await;
                }
                // The tool has closed its input, as `head` does: no failure, and nobody to tell.
                Ok(0) | Err(_) => {
                    *self = Self::Closed;
                    return;
                }
            }
        }
    }

    async fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => {
                pipe.writable().await?;
                pipe.try_write(bytes)
            }
            Self::Terminal(terminal) => {
                let mut ready = terminal.writable().await?;
                let written = ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?));
                written.unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into()))
            }
            Self::Closed => Ok(bytes.len()),
        }
    }

    /// No more will come. A terminal has no end of its own: its user types one.
    pub(super) fn close(&mut self) {
        if let Self::Pipe(_) = self {
            *self = Self::Closed;
        }
    }
}

/// Gives the session's terminal a new size; without one there is nothing to do.
pub(super) fn resize(terminal: Option<&Arc<AsyncFd<OwnedFd>>>, size: Size) {
    if let Some(terminal) = terminal {
        let _ = entry::pty::resize(terminal.get_ref().as_fd(), size.width, size.height);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use entry::pty::Pty;
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    use tokio::time::timeout;

    use super::*;
    use crate::session::watched::lets_go;

    #[test]
    fn a_terminal_that_nobody_has_open_and_nobody_reads_stops_no_other_session() {
        lets_go(async {
            let Pty { ours, tools } = Pty::open().expect("a terminal");
            let mut raw = tcgetattr(&tools).expect("its settings");
            raw.make_raw();
            tcsetattr(&tools, OptionalActions::Now, &raw).expect("raw mode");
            drop(tools);
            let mut streams =
                Streams::watch(Ends::Terminal { ours, stdin: true }).expect("streams");
            let typed = vec![b'x'; 1 << 20];
            let written = timeout(Duration::from_millis(200), streams.stdin.write(&typed)).await;
            assert!(written.is_err() || matches!(streams.stdin, Input::Closed));
        });
    }
}
