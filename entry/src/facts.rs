//! What is known about a target before a plan is made: plain data.

use serde::{Deserialize, Serialize};

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
}

impl Facts {
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
