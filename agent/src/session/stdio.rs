//! The tool's standard streams and our ends of them: pipes, or a pseudo-terminal.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use entry::Stdio;
use entry::pty::Pty;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use wire::limits;

/// Bytes that a tool may be ahead of us, so that neither waits for each byte.
pub(super) const PIPE: usize = limits::BURST;

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one parameter of the exec protocol")]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub terminal: bool,
}

/// Our ends. What was not asked for is not there: the tool has `/dev/null` instead.
#[derive(Debug)]
pub enum Ends {
    Pipes { stdin: Option<OwnedFd>, stdout: Option<OwnedFd>, stderr: Option<OwnedFd> },
    Terminal { ours: OwnedFd, stdin: bool },
}

impl Wanted {
    /// Makes both sides.
    pub fn open(self) -> io::Result<(Stdio, Ends)> {
        if self.terminal {
            let Pty { ours, tools } = Pty::open()?;
            let stdio =
                Stdio { stdin: tools.try_clone()?, stdout: tools.try_clone()?, stderr: tools };
            return Ok((stdio, Ends::Terminal { ours, stdin: self.stdin }));
        }
        let (tools_stdin, stdin) = if self.stdin { pipe().map(both)? } else { (null()?, None) };
        let (stdout, tools_stdout) = output(self.stdout)?;
        let (stderr, tools_stderr) = output(self.stderr)?;
        let stdio = Stdio { stdin: tools_stdin, stdout: tools_stdout, stderr: tools_stderr };
        Ok((stdio, Ends::Pipes { stdin, stdout, stderr }))
    }
}

fn both((reader, writer): (OwnedFd, OwnedFd)) -> (OwnedFd, Option<OwnedFd>) {
    (reader, Some(writer))
}

fn output(wanted: bool) -> io::Result<(Option<OwnedFd>, OwnedFd)> {
    if !wanted {
        return Ok((None, null()?));
    }
    let (reader, writer) = pipe()?;
    Ok((Some(reader), writer))
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // A smaller pipe is slower and nothing else.
    let _ = fcntl_setpipe_size(&writer, PIPE);
    Ok((reader, writer))
}

fn null() -> io::Result<OwnedFd> {
    File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from)
}
