//! Whose a session's control group is, readable from its name by an agent that finds it later.
//!
//! A process number alone would be another process's after a while; with the moment of its start it
//! never is. Nothing that a user says is in a name.

use std::fmt;
use std::str::FromStr;

use crate::moment::started;

/// A process that makes control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    /// Clock ticks after the node's start.
    started: u64,
}

impl Owner {
    pub(super) fn current() -> Option<Self> {
        Self::of(std::process::id())
    }

    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let started = started(&stat)?;
        Some(Self { pid, started })
    }

    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
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

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (pid, started) = text.split_once('-').ok_or(())?;
        let (pid, started) = (pid.parse().map_err(drop)?, started.parse().map_err(drop)?);
        Ok(Self { pid, started })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_it_is_and_whether_they_live() {
        let own = Owner::current().expect("ourselves");
        assert_eq!(Owner::of_name(&own.name(7)), Some(own));
        assert!(own.is_alive());
        let later = Owner { started: own.started + 1, ..own };
        assert!(!later.is_alive(), "the number was another process's then");
        for other in ["", "1-2", "a-2-3", "1-2-x", "init.scope"] {
            assert_eq!(Owner::of_name(other), None, "{other}");
        }
    }
}
