//! What is known about a target before a plan is made: plain data.

use std::collections::BTreeSet;
use std::ffi::OsString;

use crate::capability::{Capabilities, Capability};
use crate::declared::Declared;
use crate::kind::{Kind, Kinds};
use crate::signs::{HostSigns, Reached};

/// What was observed of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub pid: u32,
    /// Its command name, escaped for printing.
    pub name: String,
    /// Kind, our namespace, the target's: inode numbers, equal where it is the same one.
    pub namespaces: Vec<(Kind, u64, u64)>,
    pub users: IdMap,
    /// Which groups of this user namespace are groups of its own.
    pub group_map: IdMap,
    /// As this process's user namespace knows them.
    pub uid: u32,
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
    /// What it may make effective now, in its own user namespace.
    pub permitted: Capabilities,
    /// What it holds or an exec could give it, in its own user namespace.
    pub capabilities: Capabilities,
    /// What it shares with the node that containers usually have of their own.
    pub shared_with_node: Vec<Shared>,
    /// What of the node's kernel and files it has mounted.
    pub reached: Vec<Reached>,
    /// The numbers of its mounts, as far as it shows them.
    pub mounts: BTreeSet<u32>,
    /// What its runtime says of its container.
    pub declared: Option<Declared>,
    /// Where its Secrets and tokens are mounted.
    pub secrets: Vec<OsString>,
    /// Why the node's mounts cannot be read: then it is not known what of them the target has.
    pub unseen: Option<String>,
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
    /// Whether this is the number of its user or of a group of its.
    pub(crate) fn has_id(&self, id: u32) -> bool {
        self.uid == id || self.gid == id || self.groups.contains(&id)
    }

    /// Whether the target could be this user and group: it is, or holds what it takes to become it. In a
    /// user namespace of its own that is no user outside of it, whatever it holds there.
    pub(crate) fn can_be(&self, uid: u32, gid: u32) -> bool {
        if self.own().contains(Kind::User) {
            return self.users.reaches(uid) && self.group_map.reaches(gid);
        }
        let holds = |power| self.permitted.contains(power);
        let is_group = gid == self.gid || self.groups.contains(&gid);
        (uid == self.uid || holds(Capability::Setuid)) && (is_group || holds(Capability::Setgid))
    }
}

impl Facts {
    /// Why entering this target is worth as much as entering the node, or nothing.
    ///
    /// Observed, not declared: its specification may say otherwise. `signs` is the
    /// list of what makes it so.
    #[must_use]
    pub fn host_target(&self, signs: &HostSigns) -> Option<String> {
        let shared: Vec<_> = self.shared_with_node.iter().map(|kind| kind.as_str()).collect();
        if !shared.is_empty() {
            let namespaces = match &shared[..] {
                [rest @ .., last] if !rest.is_empty() => {
                    format!("{} and {last} namespaces", rest.join(", "))
                }
                all => format!("{} namespace", all.concat()),
            };
            return Some(format!("it shares the node's {namespaces}"));
        }
        // What a process holds in a user namespace of its own is no power outside.
        let own =
            if self.own().contains(Kind::User) { Capabilities::NONE } else { self.capabilities };
        // It may have made that itself, where others of its container are not in it.
        let declared = self.declared.as_ref().filter(|declared| !declared.own_users);
        let held = declared.map_or(own, |declared| own.union(declared.capabilities));
        let opens_devices = declared.is_some_and(|declared| declared.opens_devices);
        let devices = if opens_devices { signs.with_open_devices } else { Capabilities::NONE };
        let powers = signs.powers.union(devices).intersection(held);
        // First the one that gives all others.
        let first = [Capability::SysAdmin].into_iter().filter(|power| powers.contains(*power));
        let holds = |held: Capability| {
            let open = if devices.contains(held) { ", and its devices are open" } else { "" };
            format!("it holds, or can come to hold, CAP_{}{open}", held.as_str())
        };
        first.chain(powers.iter()).next().map(holds).or_else(|| self.reaches_node(signs))
    }

    fn reaches_node(&self, signs: &HostSigns) -> Option<String> {
        let declared = self.declared.as_ref();
        let has_own_users = declared.is_some_and(|declared| declared.own_users);
        let declared = declared.into_iter().flat_map(|declared| &declared.reached);
        let observed = self.reached.iter().filter(|_| self.may_be_root());
        let declared = declared.filter(|_| !has_own_users || self.may_be_root());
        signs.find(observed.chain(declared))
    }

    /// Whether its root is the node's, also under another name: a process may have made a user namespace itself.
    pub(crate) fn may_be_root(&self) -> bool {
        !self.own().contains(Kind::User) || self.users.reaches(0) || self.group_map.reaches(0)
    }
}

/// `/proc/PID/uid_map` or `gid_map`: which ids of ours are ids of a process's user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(Vec<Range>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    inside: u32,
    outside: u32,
    count: u32,
}

impl IdMap {
    /// Reads the file; of a line that is not one of `user_namespaces(7)` nothing is mapped.
    pub(crate) fn parse(map: &str) -> Self {
        let range = |line: &str| {
            let mut numbers = line.split_whitespace().map_while(|number| number.parse().ok());
            let (inside, outside, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
            Some(Range { inside, outside, count })
        };
        Self(map.lines().filter_map(range).collect())
    }

    /// Whether there is a root in there.
    #[must_use]
    pub fn has_root(&self) -> bool {
        self.0.iter().any(|range| range.inside == 0 && range.count > 0)
    }

    /// Whether the id that is `outside` here is one of its own.
    #[must_use]
    pub fn reaches(&self, outside: u32) -> bool {
        let within = |range: &Range| {
            outside.checked_sub(range.outside).is_some_and(|distance| distance < range.count)
        };
        self.0.iter().any(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_without_a_root_is_seen() {
        assert!(IdMap::parse("         0     100000      65536\n").has_root());
        assert!(!IdMap::parse("      1000     101000          1\n").has_root());
        assert!(!IdMap::parse("").has_root());
    }

    #[test]
    fn an_id_is_one_of_a_namespace_where_a_range_has_it() {
        let map = IdMap::parse("0 100000 65536\n65536 7 1\n");
        for (id, reaches) in [(0, false), (7, true), (8, false), (100_000, true), (165_536, false)]
        {
            assert_eq!(map.reaches(id), reaches, "{id}");
        }
    }
}
