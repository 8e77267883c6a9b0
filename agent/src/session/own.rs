//! What this agent itself is told to use: a target that has it mounted is worth as much as the agent.

use std::path::Path;

use entry::{HostSigns, on_node};

use super::policy::host_signs;

/// By their paths on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPaths {
    reached: Vec<String>,
    written: Vec<String>,
}

impl OwnPaths {
    /// Sockets and keys, which are not to be `reached`; and tools and logs, which are not to be `written`.
    pub fn of<'p>(
        reached: impl IntoIterator<Item = &'p Path>,
        written: impl IntoIterator<Item = &'p Path>,
    ) -> Self {
        Self { reached: on_node(reached), written: on_node(written) }
    }

    /// The list that each agent has, and these.
    pub(super) fn signs(&self) -> HostSigns {
        let Self { reached, written } = self.clone();
        HostSigns { own: reached, own_to_write: written, ..host_signs() }
    }
}
