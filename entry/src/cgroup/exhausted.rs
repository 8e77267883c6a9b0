//! Whose memory ran out when the kernel had to kill in a session.

use std::fmt;

use super::resources::Memory;

/// Which limit a session ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// Its own.
    Session(Memory),
    /// That of all sessions together.
    Together(Memory),
    /// None of a session's: the node's memory, or a limit above that of all sessions.
    Above,
}

/// A session could not start a process: it had as many as a session may, which is this, or all sessions of the node
/// together had as many as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfProcesses(pub(super) u32);

impl fmt::Display for OutOfProcesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(limit) = self;
        write!(
            f,
            "cannot start a process: the session reached its limit of {limit} processes (--session-pids), or all sessions of this node reached theirs (--all-sessions-pids)"
        )
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(limit) => write!(f, "the session ran out of memory (limit {limit})"),
            Self::Together(limit) => {
                write!(f, "all sessions of this node together ran out of memory (limit {limit})")
            }
            Self::Above => f.write_str(
                "out of memory: the node, or a control group above the agent's (its pod's memory limit)",
            ),
        }
    }
}
