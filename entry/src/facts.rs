//! What is known about a target before a plan is made: plain data.

use serde::{Deserialize, Serialize};

use crate::capability::{Capabilities, Capability};
use crate::kind::{Kind, Kinds};

/// What was observed of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub pid: u32,
    /// Its command name, escaped for printing.
    pub name: String,
    /// Kind, our namespace, the target's: inode numbers, equal where it is the same one.
    pub namespaces: Vec<(Kind, u64, u64)>,
    pub users: IdMap,
    pub uid: u32,
    pub gid: u32,
    /// What it holds or an exec could give it, in its own user namespace.
    pub capabilities: Capabilities,
    /// What it shares with the node that containers usually have of their own.
    pub shared_with_node: Vec<Shared>,
}

/// A kind of namespace that makes a target more than a container when it is the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    Ipc,
    Mount,
    Net,
    Pid,
}

impl Shared {
    pub(crate) const ALL: [Self; 4] = [Self::Ipc, Self::Mount, Self::Net, Self::Pid];

    /// The name of its file under `/proc/PID/ns`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipc => "ipc",
            Self::Mount => "mnt",
            Self::Net => "net",
            Self::Pid => "pid",
        }
    }
}

impl Facts {
    /// The inode number of the target's pid namespace.
    pub(crate) fn pids(&self) -> Option<u64> {
        self.namespaces.iter().find(|(kind, ..)| *kind == Kind::Pid).map(|(.., theirs)| *theirs)
    }

    /// The kinds that this kernel has.
    pub(crate) fn kinds(&self) -> Kinds {
        self.namespaces.iter().map(|(kind, ..)| *kind).collect()
    }

    /// The kinds of which the target has a namespace that is not ours.
    #[must_use]
    pub fn own(&self) -> Kinds {
        self.namespaces
            .iter()
            .filter(|(_, ours, theirs)| ours != theirs)
            .map(|(kind, ..)| *kind)
            .collect()
    }
}

impl Facts {
    /// Why entering this target is worth as much as entering the node, or nothing.
    ///
    /// Observed, not declared: whoever wrote its specification may have said otherwise.
    #[must_use]
    pub fn host_target(&self) -> Option<String> {
        let shared: Vec<_> = self.shared_with_node.iter().map(|kind| kind.as_str()).collect();
        if !shared.is_empty() {
            return Some(format!("it shares the node's {} namespace", shared.join(" and ")));
        }
        // What a process holds in a user namespace of its own is no power over one outside.
        let powers = [Capability::SysAdmin, Capability::SysPtrace];
        let held = powers.into_iter().find(|power| self.capabilities.contains(*power))?;
        let of_its_own = self.own().contains(Kind::User);
        (!of_its_own).then(|| format!("it holds, or can come to hold, CAP_{}", held.as_str()))
    }
}

/// `/proc/PID/uid_map`, as far as it matters: whether there is a root in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    pub has_root: bool,
}

impl IdMap {
    pub(crate) fn parse(map: &str) -> Self {
        // user_namespaces(7): the first column is where a range starts inside.
        let has_root = map.lines().any(|line| line.split_whitespace().next() == Some("0"));
        Self { has_root }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_without_a_root_is_seen() {
        assert!(IdMap::parse("         0     100000      65536\n").has_root);
        assert!(!IdMap::parse("      1000     101000          1\n").has_root);
        assert!(!IdMap::parse("").has_root);
    }
}
