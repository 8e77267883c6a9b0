//! Our ends of the tool's streams, under the runtime.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use wire::frame::Size;

use super::Ends;
use super::output::Output;
use super::watched::watched;

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
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let result = match self {
            Self::Pipe(pipe) => pipe.write_all(bytes).await,
            Self::Terminal(terminal) => write_all(terminal, bytes).await,
            Self::Closed => Ok(()),
        };
        // The tool has closed its input, as `head` does: no failure, and nobody to tell.
        if result.is_err() {
            *self = Self::Closed;
        }
    }

    /// No more will come. A terminal has no end of its own: its user types one.
    pub(super) fn close(&mut self) {
        if let Self::Pipe(_) = self {
            *self = Self::Closed;
        }
    }
}

async fn write_all(terminal: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = terminal.writable().await?;
        let written = ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?));
        if let Ok(written) = written {
            bytes = bytes.get(written?..).unwrap_or_default();
        }
    }
    Ok(())
}

/// Gives the session's terminal a new size; without one there is nothing to do.
pub(super) fn resize(terminal: Option<&Arc<AsyncFd<OwnedFd>>>, size: Size) {
    if let Some(terminal) = terminal {
        let _ = entry::pty::resize(terminal.get_ref().as_fd(), size.width, size.height);
    }
}
