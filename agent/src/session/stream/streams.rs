//! Our ends of the tool's streams, under the runtime.

use std::io;

use tokio::net::UnixStream;

use super::input::Input;
use super::output::Output;
use super::stdio::Ends;

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
        Ok(Self {
            stdin: Input::of(stdin.map(UnixStream::from_std).transpose()?),
            stdout: Output::of(stdout)?,
            stderr: Output::of(stderr)?,
        })
    }
}
