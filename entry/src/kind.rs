//! Kinds of Linux namespaces, and sets of them.

use std::fmt;
use std::str::FromStr;

use rustix::thread::ThreadNameSpaceType;
use serde::{Deserialize, Serialize};

/// A kind of namespace, by the name of its file under `/proc/PID/ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    Cgroup,
    Ipc,
    Net,
    Pid,
    Time,
    User,
    Uts,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Cgroup, Self::Ipc, Self::Net, Self::Pid, Self::Time, Self::User, Self::Uts];

    /// The name that `/proc/PID/ns` and `nsenter` use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::Time => "time",
            Self::User => "user",
            Self::Uts => "uts",
        }
    }

    fn flag(self) -> ThreadNameSpaceType {
        match self {
            Self::Cgroup => ThreadNameSpaceType::CONTROL_GROUP,
            Self::Ipc => ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION,
            Self::Net => ThreadNameSpaceType::NETWORK,
            Self::Pid => ThreadNameSpaceType::PROCESS_ID,
            Self::Time => ThreadNameSpaceType::TIME,
            Self::User => ThreadNameSpaceType::USER,
            Self::Uts => ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of kinds. The mount namespace is never in one: joining it would lose the tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds(u8);

/// Why a list of kinds is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKinds {
    #[error(
        "`mnt` cannot be joined: the tools would no longer be visible. The container's files are under /target (with --tools host: /proc/1/root)"
    )]
    Mount,
    #[error("`user` is only joined with --join-user")]
    User,
    #[error("there is no namespace kind `{given}`: choose from pid, net, ipc, uts, cgroup, time")]
    Unknown { given: String },
}

impl Kinds {
    #[must_use]
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub fn with(self, kind: Kind) -> Self {
        Self(self.0 | Self::bit(kind))
    }

    #[must_use]
    pub fn without(self, kind: Kind) -> Self {
        Self(self.0 & !Self::bit(kind))
    }

    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// The argument of one `setns(2)` on a pidfd, which joins all of them or none.
    pub(crate) fn flags(self) -> ThreadNameSpaceType {
        self.iter().fold(ThreadNameSpaceType::empty(), |flags, kind| flags | kind.flag())
    }

    fn bit(kind: Kind) -> u8 {
        1 << kind as u8
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::default(), Self::with)
    }
}

impl FromStr for Kinds {
    type Err = BadKinds;

    /// Reads what `--namespaces` takes: names joined by commas.
    fn from_str(list: &str) -> Result<Self, BadKinds> {
        list.split(',').map(str::trim).map(selectable).collect()
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, kind) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{kind}")?;
        }
        Ok(())
    }
}

fn selectable(name: &str) -> Result<Kind, BadKinds> {
    match name {
        "mnt" | "mount" => Err(BadKinds::Mount),
        "user" => Err(BadKinds::User),
        other => Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == other)
            .ok_or_else(|| BadKinds::Unknown { given: other.escape_debug().take(40).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_in_any_order_and_printed_in_one() {
        let kinds: Kinds = "uts,pid, net".parse().expect("kinds");
        assert_eq!(kinds.to_string(), "net, pid, uts");
        assert_eq!(Kinds::default().to_string(), "none");
    }

    #[test]
    fn what_cannot_be_joined_is_refused_with_the_reason() {
        assert_eq!("pid,mnt".parse::<Kinds>(), Err(BadKinds::Mount));
        assert_eq!("user".parse::<Kinds>(), Err(BadKinds::User));
        let error = "pid,nte".parse::<Kinds>().expect_err("a typing error");
        assert!(error.to_string().contains("`nte`"), "{error}");
        assert!("".parse::<Kinds>().is_err());
    }

    #[test]
    fn the_flags_are_those_of_setns() {
        let kinds: Kinds = "net,pid".parse().expect("kinds");
        assert_eq!(kinds.flags().bits(), 0x4000_0000 | 0x2000_0000);
    }
}
