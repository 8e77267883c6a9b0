//! The tool's pipes or terminal, which only a relay and the session ever hold.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::flow::Flow;
use crate::message::{Relayed, ToRelay};
use crate::pty::{Pty, Terminals};
use crate::spawn::Stdio;

/// Descriptors that come with a relay's order: three ends, the target and the helper's order.
pub(super) const HANDED: usize = 5;

/// Bytes that a tool may be ahead of its relay, so that neither waits for each byte.
const PIPE: usize = 256 << 10;

/// See the module.
pub(super) struct OpenedStreams {
    /// For the supervisor.
    pub(super) stdio: Stdio,
    pub(super) flows: Vec<Flow>,
    /// Our side of it.
    pub(super) terminal: Option<OwnedFd>,
    /// What a confined tool's terminal is one of, for the helper.
    pub(super) terminals: Option<Terminals>,
}

impl OpenedStreams {
    /// For what is asked, between the tool and the agent's `ends`.
    pub(super) fn of(asked: ToRelay, ends: [OwnedFd; 3]) -> io::Result<Self> {
        let [stdin, stdout, stderr] = ends;
        match asked.streams {
            Relayed::Pipes { stdin: reads, stdout: writes, stderr: complains } => {
                let mut flows = Vec::with_capacity(3);
                let stdio = Stdio {
                    stdin: if reads { input(stdin, &mut flows)? } else { stdin },
                    stdout: if writes { output(stdout, &mut flows)? } else { stdout },
                    stderr: if complains { output(stderr, &mut flows)? } else { stderr },
                };
                Ok(Self { stdio, flows, terminal: None, terminals: None })
            }
            Relayed::Terminal { stdin: reads } => {
                let (Pty { ours, tools }, terminals) = Pty::open_as(asked.confined)?;
                fcntl_setfl(&ours, fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
                let mut flows = vec![Flow::from_terminal(ours.try_clone()?, stdout)?];
                if reads {
                    flows.push(Flow::to_tool(stdin, ours.try_clone()?)?);
                }
                let stdio =
                    Stdio { stdin: tools.try_clone()?, stdout: tools.try_clone()?, stderr: tools };
                Ok(Self { stdio, flows, terminal: Some(ours), terminals })
            }
        }
    }
}

fn input(socket: OwnedFd, flows: &mut Vec<Flow>) -> io::Result<OwnedFd> {
    let (tools, ours) = pipe()?;
    fcntl_setfl(&ours, fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
    flows.push(Flow::to_tool(socket, ours)?);
    Ok(tools)
}

fn output(socket: OwnedFd, flows: &mut Vec<Flow>) -> io::Result<OwnedFd> {
    let (ours, tools) = pipe()?;
    flows.push(Flow::from_pipe(ours, socket)?);
    Ok(tools)
}

/// Reader and writer. Only our side is made not to wait: how a tool waits is its own business.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // A smaller pipe is slower and nothing else.
    let _ = fcntl_setpipe_size(&writer, PIPE);
    Ok((reader, writer))
}
