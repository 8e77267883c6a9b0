//! Our ends of the tool's streams, under the runtime.

use std::io;

use tokio::net::UnixStream;

use super::output::Output;
use super::stdio::Ends;

/// Where input goes.
#[derive(Debug)]
pub(crate) enum Input {
    Relay(UnixStream),
    /// Not asked for, or the tool no longer wants any: what comes is dropped.
    Closed,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

impl Streams {
    /// Registers `ends` with the runtime.
    pub(crate) fn watch(Ends { stdin, stdout, stderr }: Ends) -> io::Result<Self> {
        let stdin = stdin.map(UnixStream::from_std).transpose()?;
        Ok(Self {
            stdin: stdin.map_or(Input::Closed, Input::Relay),
            stdout: Output::of(stdout)?,
            stderr: Output::of(stderr)?,
        })
    }
}

impl Input {
    /// Writes all of `bytes`, waiting for the tool to take them.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.write_some(bytes).await {
                Ok(written @ 1..) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
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
            Self::Relay(relay) => {
                relay.writable().await?;
                relay.try_write(bytes)
            }
            Self::Closed => Ok(bytes.len()),
        }
    }

    /// No more will come. A terminal has no end of its own, and its relay takes this for none: its user types one.
    pub(crate) fn close(&mut self) {
        *self = Self::Closed;
    }
}
