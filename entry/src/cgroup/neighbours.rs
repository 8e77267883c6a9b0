//! Who else in a pid namespace is of a session: known by where it is, which no process can pretend.
//!
//! All groups of sessions have one parent, which only root of the node can move a process below.

use super::control::SESSIONS;
use super::owner::Owner;
use crate::procfs;

/// What the lines of `/proc/PID/cgroup` begin with for every session of this node.
#[derive(Debug)]
pub(crate) struct Neighbours(Vec<String>);

impl Neighbours {
    /// Those of this process; nobody, where it is in no session's group itself.
    pub(crate) fn own() -> Self {
        Self::of(&procfs::read("/proc/self/cgroup").unwrap_or_default())
    }

    fn of(membership: &str) -> Self {
        let parents = membership.lines().filter_map(|line| {
            let (parent, name) = line.rsplit_once('/')?;
            let is_session = parent.ends_with(&format!("/{SESSIONS}"));
            (is_session && Owner::of_name(name).is_some()).then(|| format!("{parent}/"))
        });
        let mut parents: Vec<_> = parents.collect();
        // In version 1, a process that is about to exit is at the root already.
        if let Some(unified) = parents.iter().position(|parent| parent.starts_with("0::")) {
            parents = vec![parents.swap_remove(unified)];
        }
        Self(parents)
    }

    /// Whether the process of that number is of a session. One that cannot be looked at is not.
    pub(crate) fn contain(&self, pid: u32) -> bool {
        let membership = procfs::read(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        self.match_all(&membership)
    }

    fn match_all(&self, membership: &str) -> bool {
        let Self(parents) = self;
        let within = |parent: &String| {
            let below = membership.lines().find_map(|line| line.strip_prefix(parent));
            let name = below.map(|below| below.split('/').next().unwrap_or(below));
            name.and_then(Owner::of_name).is_some()
        };
        !parents.is_empty() && parents.iter().all(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "4:memory:/a/nsdebug/10-20-0\n2:blkio:/\n0::/a/nsdebug/10-20-0\n";

    #[test]
    fn sessions_of_any_owner_are_neighbours() {
        let own = Neighbours::of(OWN);
        assert!(own.match_all("4:memory:/a/nsdebug/77-1-9\n2:blkio:/\n0::/a/nsdebug/77-1-9\n"));
        assert!(own.match_all("4:memory:/a/nsdebug/7-1-8-9\n2:blkio:/\n0::/a/nsdebug/7-1-8-9\n"));
        assert!(own.match_all("4:memory:/a/nsdebug/7-1-9/below\n0::/a/nsdebug/7-1-9\n"));
    }

    #[test]
    fn who_is_about_to_exit_is_known_by_version_2() {
        assert!(Neighbours::of(OWN).match_all("4:memory:/\n0::/a/nsdebug/77-1-9\n"));
    }

    #[test]
    fn a_container_does_not_become_one_by_the_name_of_its_group() {
        let own = Neighbours::of(OWN);
        assert!(!own.match_all("4:memory:/pod/nsdebug/77-1-9\n0::/pod/nsdebug/77-1-9\n"));
        assert!(!own.match_all("4:memory:/a/nsdebug/77-1-9\n0::/pod\n"));
        let v1 = Neighbours::of("4:memory:/a/nsdebug/10-20-0\n8:pids:/nsdebug/10-20-0\n");
        assert!(!v1.match_all("4:memory:/a/nsdebug/77-1-9\n8:pids:/pod\n"));
        assert!(!own.match_all(""));
    }

    #[test]
    fn without_a_group_of_its_own_a_session_has_no_neighbours() {
        let own = Neighbours::of("4:memory:/\n0::/user.slice\n");
        assert!(!own.match_all("4:memory:/\n0::/user.slice\n"));
    }
}
