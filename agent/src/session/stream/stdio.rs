//! The streams of a session at our side of its relay: a socket each, and never what the tool itself has.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use entry::{Relayed, RelayedStdio, Stdio};
use rustix::net::sockopt::set_socket_send_buffer_size;

/// Bytes that a relay may be ahead of us, as far as the kernel lets anybody ask for (`net.core.wmem_max`). It
/// counts twice as many, for what it keeps beside them.
const AHEAD: usize = 208 << 10;

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
pub struct Ends {
    pub stdin: Option<UnixStream>,
    /// Of a terminal, all that is written to it.
    pub stdout: Option<UnixStream>,
    pub stderr: Option<UnixStream>,
}

impl Wanted {
    /// Makes both sides.
    pub fn open(self) -> io::Result<(RelayedStdio, Ends)> {
        let Self { stdin, stdout, stderr, terminal } = self;
        let streams = if terminal {
            Relayed::Terminal { stdin }
        } else {
            Relayed::Pipes { stdin, stdout, stderr }
        };
        let (relays_stdin, stdin) = end(stdin)?;
        let (relays_stdout, stdout) = output(stdout || terminal)?;
        let (relays_stderr, stderr) = output(stderr && !terminal)?;
        let ends = Stdio { stdin: relays_stdin, stdout: relays_stdout, stderr: relays_stderr };
        Ok((RelayedStdio { streams, ends }, Ends { stdin, stdout, stderr }))
    }
}

/// The same, with a byte in it that a relay takes out once all is passed on: one that is killed leaves it there,
/// and then the kernel tells us (`ECONNRESET`) that what we have is not the whole output.
fn output(wanted: bool) -> io::Result<(OwnedFd, Option<UnixStream>)> {
    let (relays, ours) = end(wanted)?;
    if let Some(mut ours) = ours.as_ref() {
        ours.write_all(b"!")?;
    }
    Ok((relays, ours))
}

/// The relay's side, and ours where the stream is `wanted`.
fn end(wanted: bool) -> io::Result<(OwnedFd, Option<UnixStream>)> {
    if !wanted {
        return Ok((File::options().read(true).write(true).open("/dev/null")?.into(), None));
    }
    let (relays, ours) = UnixStream::pair()?;
    // Less is slower and nothing else.
    let _ = set_socket_send_buffer_size(&relays, AHEAD);
    ours.set_nonblocking(true)?;
    Ok((relays.into(), Some(ours)))
}
