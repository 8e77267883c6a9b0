//! What this agent itself is told to use: a target that has it mounted is worth as much as the agent.

use std::path::Path;

use entry::{Capability, HostSigns, Whereabouts};
use wire::host;

/// By their paths on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPaths {
    reached: Vec<String>,
    written: Vec<String>,
}

/// Where on the node these paths are cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the mounts of this process and of the node's first one: {why}")]
pub struct UnknownMounts {
    why: String,
}

impl OwnPaths {
    /// Sockets and keys, which are not to be `reached`; and tools and logs, which are not to be `written`.
    pub fn of<'p>(
        reached: impl IntoIterator<Item = &'p Path>,
        written: impl IntoIterator<Item = &'p Path>,
    ) -> Result<Self, UnknownMounts> {
        let here = Whereabouts::now().map_err(|error| UnknownMounts { why: error.to_string() })?;
        Ok(Self { reached: here.on_node(reached), written: here.on_node(written) })
    }

    /// The list that each agent has, and these.
    pub(super) fn signs(&self) -> HostSigns {
        let Self { reached, written } = self.clone();
        HostSigns { own: reached, own_to_write: written, ..host_signs() }
    }
}

/// What makes a target worth its node: the list that the gateway has too.
pub(super) fn host_signs() -> HostSigns {
    let list = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    HostSigns {
        powers: host::CAPABILITIES.into_iter().filter_map(Capability::named).collect(),
        with_open_devices: Capability::named(host::WITH_OPEN_DEVICES).into_iter().collect(),
        sockets: list(&host::RUNTIME_SOCKETS),
        folders: list(&host::FOLDERS),
        of_containers: list(&host::OF_CONTAINERS),
        harmless_to_read: list(&host::HARMLESS_TO_READ),
        ..HostSigns::default()
    }
}
