//! What a session may hold: data, and the argument for each capability.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::capability::{Capabilities, Capability};

/// A named set of privileges, from the least to the most. Each can be granted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Profile {
    /// Runs as the target does.
    Restricted,
    /// Reads what everybody may read.
    Baseline,
    /// Looks at processes and packets.
    General,
    /// Changes the network of the target.
    Netadmin,
    /// Root of the node, for targets that are.
    Sysadmin,
}

/// Who a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunAs {
    Ids {
        uid: u32,
        gid: u32,
    },
    /// The user and groups of the target's process.
    Target,
}

/// Users and groups that images have no process and no file of, in the order in which they are taken: the first that
/// the target does not have. 65532 is the user of many images, and 65534 of files that belong to no user.
pub(crate) const UNPRIVILEGED: [u32; 4] = [65533, 65531, 65530, 65529];

impl Profile {
    /// Who tools are where the caller does not say.
    #[must_use]
    pub fn run_as(self) -> RunAs {
        match self {
            Self::Restricted | Self::General | Self::Netadmin => RunAs::Target,
            Self::Baseline => RunAs::Ids { uid: UNPRIVILEGED[0], gid: UNPRIVILEGED[0] },
            Self::Sysadmin => RunAs::Ids { uid: 0, gid: 0 },
        }
    }

    /// What tools hold, apart from the canary.
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        let reasons = match self {
            Self::Restricted | Self::Baseline => &[][..],
            Self::General => &GENERAL,
            Self::Netadmin => &NETADMIN,
            Self::Sysadmin => return Capabilities::ALL,
        };
        reasons.iter().map(|(capability, _)| *capability).collect()
    }

    /// Each capability with what it is for and what it lets its holder do.
    #[must_use]
    pub fn reasons(self) -> &'static [(Capability, &'static str)] {
        match self {
            // The last holds all of them, for whatever it takes.
            Self::Restricted | Self::Baseline | Self::Sysadmin => &[],
            Self::General => &GENERAL,
            Self::Netadmin => &NETADMIN,
        }
    }

    /// Whether tools are to look into the target's processes, and trace them, as far as the kernel lets them.
    #[must_use]
    pub fn looks_into_processes(self) -> bool {
        matches!(self, Self::General | Self::Netadmin | Self::Sysadmin)
    }

    /// Whether `/target` may be written to when the caller asks for it.
    #[must_use]
    pub fn may_write(self) -> bool {
        matches!(self, Self::General | Self::Netadmin | Self::Sysadmin)
    }
}

const GENERAL: [(Capability, &str); 2] = [
    (Capability::NetRaw, "tcpdump, ping: reads and forges packets of the target's network"),
    (Capability::Kill, "kill, and strace's detach: signals to processes of other users"),
];

const NETADMIN: [(Capability, &str); 3] = [
    GENERAL[0],
    GENERAL[1],
    (Capability::NetAdmin, "ip route, tc, nft: changes the target's network, and the node's"),
];

impl fmt::Display for Profile {
    /// As requests name it, which are read elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// The text is neither `target` nor `UID[:GID]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid user `{given}`: use `target`, UID or UID:GID (numeric)")]
pub struct BadRunAs {
    given: String,
}

impl FromStr for RunAs {
    type Err = BadRunAs;

    fn from_str(text: &str) -> Result<Self, BadRunAs> {
        if text == "target" {
            return Ok(Self::Target);
        }
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        // The last number is "no change" to the kernel.
        let id = |digits: &str| digits.parse().ok().filter(|id| *id != u32::MAX);
        match (id(uid), id(gid)) {
            (Some(uid), Some(gid)) => Ok(Self::Ids { uid, gid }),
            _ => Err(BadRunAs { given: text.escape_debug().take(40).collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Profile; 5] = [
        Profile::Restricted,
        Profile::Baseline,
        Profile::General,
        Profile::Netadmin,
        Profile::Sysadmin,
    ];

    #[test]
    fn the_first_four_never_hold_what_makes_root_of_the_node() {
        use Capability as C;
        let never = [
            C::SysAdmin,
            C::SysPtrace,
            C::SysModule,
            C::Mknod,
            C::DacReadSearch,
            C::DacOverride,
            C::Bpf,
            C::SysRawio,
            C::Setuid,
            C::Setgid,
        ];
        for profile in ALL.into_iter().filter(|profile| *profile != Profile::Sysadmin) {
            for capability in never {
                assert!(!profile.capabilities().contains(capability), "{profile} {capability:?}");
            }
        }
    }

    #[test]
    fn each_profile_holds_no_less_than_the_one_before() {
        for pair in ALL.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(pair[1].capabilities().contains_all(pair[0].capabilities()));
        }
    }

    #[test]
    fn who_to_run_as_is_numbers_or_the_target() {
        assert_eq!("target".parse(), Ok(RunAs::Target));
        assert_eq!("1000".parse(), Ok(RunAs::Ids { uid: 1000, gid: 1000 }));
        assert_eq!("1000:5".parse(), Ok(RunAs::Ids { uid: 1000, gid: 5 }));
        for bad in ["", "root", "1000:", "-1", "4294967295", "1:2:3"] {
            assert!(bad.parse::<RunAs>().is_err(), "{bad}");
        }
    }
}
