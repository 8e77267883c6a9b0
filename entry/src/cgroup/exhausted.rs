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

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(limit) => write!(f, "the session ran out of memory (limit {limit})"),
            Self::Together(limit) => {
                write!(f, "all sessions of this node together ran out of memory (limit {limit})")
            }
            Self::Above => f.write_str("the node, or whatever limits the agent, ran out of memory"),
        }
    }
}
