//! Whose a session's control group is, readable from its name by whatever process finds it later.
//!
//! A process number alone would be another's after a while; with the moment of its start it never is. It is a number
//! of one pid namespace: in another it names another process, or none. Nothing that a user says is in a name.

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::moment::started;
use crate::namespaces::{INITIAL_PIDS, own_pids};
use crate::procfs::{self, unless_gone};

/// A process that makes control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    /// Clock ticks after the node's start.
    started: u64,
    /// The inode number of the pid namespace that has this process by that number. Names of earlier releases do not
    /// say it: those were given in the node's.
    pids: u64,
}

impl Owner {
    pub(super) fn current() -> Option<Self> {
        let (pid, pids) = (std::process::id(), own_pids().ok()?);
        let started = started_of(pid).ok()??;
        Some(Self { pid, started, pids })
    }

    /// Whether it has ended, as far as this process can tell: of another pid namespace it cannot.
    pub(super) fn has_ended(self) -> bool {
        let is_here = own_pids().is_ok_and(|pids| pids == self.pids);
        let now = || started_of(self.pid);
        is_here && now().is_ok_and(|started| started != Some(self.started))
    }

    /// The name of this owner's group of that number.
    pub(super) fn name(self, number: u64) -> String {
        format!("{self}-{number}")
    }

    /// Whose group `name` is; `None` where it is none of ours.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let (owner, number) = name.rsplit_once('-')?;
        number.parse::<u64>().ok()?;
        owner.parse().ok()
    }
}

/// When the process of this number started; `None` where there is none.
fn started_of(pid: u32) -> io::Result<Option<u64>> {
    let stat = unless_gone(procfs::read(format!("/proc/{pid}/stat")))?;
    Ok(stat.as_deref().and_then(started))
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.pid, self.started, self.pids)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers: Result<Vec<u64>, _> = text.split('-').map(str::parse).collect();
        let (pid, started, pids) = match numbers.map_err(drop)?[..] {
            [pid, started] => (pid, started, INITIAL_PIDS),
            [pid, started, pids] => (pid, started, pids),
            _ => return Err(()),
        };
        Ok(Self { pid: pid.try_into().map_err(drop)?, started, pids })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_it_is_and_whether_they_live() {
        let own = Owner::current().expect("ourselves");
        assert_eq!(Owner::of_name(&own.name(7)), Some(own));
        assert!(!own.has_ended());
        let later = Owner { started: own.started + 1, ..own };
        assert!(later.has_ended(), "the number was another process's then");
        for other in ["", "1-2", "a-2-3", "1-2-x", "1-2-3-4-5", "4294967296-2-3", "init.scope"] {
            assert_eq!(Owner::of_name(other), None, "{other}");
        }
    }

    #[test]
    fn an_owner_of_another_pid_namespace_is_left_alone() {
        let own = Owner::current().expect("ourselves");
        let elsewhere = Owner { started: own.started + 1, pids: own.pids + 1, ..own };
        assert!(!elsewhere.has_ended(), "its number is of that namespace");
        let gone = Owner { pid: u32::MAX, ..own };
        assert!(gone.has_ended());
    }

    #[test]
    fn a_name_of_an_earlier_release_is_of_the_nodes_pid_namespace() {
        let owner = Owner { pid: 10, started: 20, pids: INITIAL_PIDS };
        assert_eq!(Owner::of_name("10-20-0"), Some(owner));
        assert_eq!(Owner::of_name(&owner.name(0)), Some(owner));
    }
}
