//! The agents: they dial, prove who they are, and their connections wait here for sessions.

mod accept;
mod registry;
mod token;

pub(crate) use accept::Reception;
pub(crate) use registry::{AgentError, Agents, Answer};
pub(crate) use token::Tokens;
