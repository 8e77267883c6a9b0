//! Linux capabilities by name, and sets of them as the kernel prints and takes them.

use std::fmt;

use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

macro_rules! capabilities {
    ($($name:ident = $number:literal $text:literal),* $(,)?) => {
        /// One capability (capabilities(7)); the number is its bit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Capability {
            $($name = $number),*
        }

        impl Capability {
            /// Those of `linux/capability.h` of Linux 5.9, the last that added one.
            pub const ALL: [Self; 41] = [$(Self::$name),*];

            /// The name without `CAP_`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),*
                }
            }
        }
    };
}

capabilities! {
    Chown = 0 "CHOWN",
    DacOverride = 1 "DAC_OVERRIDE",
    DacReadSearch = 2 "DAC_READ_SEARCH",
    Fowner = 3 "FOWNER",
    Fsetid = 4 "FSETID",
    Kill = 5 "KILL",
    Setgid = 6 "SETGID",
    Setuid = 7 "SETUID",
    Setpcap = 8 "SETPCAP",
    LinuxImmutable = 9 "LINUX_IMMUTABLE",
    NetBindService = 10 "NET_BIND_SERVICE",
    NetBroadcast = 11 "NET_BROADCAST",
    NetAdmin = 12 "NET_ADMIN",
    NetRaw = 13 "NET_RAW",
    IpcLock = 14 "IPC_LOCK",
    IpcOwner = 15 "IPC_OWNER",
    SysModule = 16 "SYS_MODULE",
    SysRawio = 17 "SYS_RAWIO",
    SysChroot = 18 "SYS_CHROOT",
    SysPtrace = 19 "SYS_PTRACE",
    SysPacct = 20 "SYS_PACCT",
    SysAdmin = 21 "SYS_ADMIN",
    SysBoot = 22 "SYS_BOOT",
    SysNice = 23 "SYS_NICE",
    SysResource = 24 "SYS_RESOURCE",
    SysTime = 25 "SYS_TIME",
    SysTtyConfig = 26 "SYS_TTY_CONFIG",
    Mknod = 27 "MKNOD",
    Lease = 28 "LEASE",
    AuditWrite = 29 "AUDIT_WRITE",
    AuditControl = 30 "AUDIT_CONTROL",
    Setfcap = 31 "SETFCAP",
    MacOverride = 32 "MAC_OVERRIDE",
    MacAdmin = 33 "MAC_ADMIN",
    Syslog = 34 "SYSLOG",
    WakeAlarm = 35 "WAKE_ALARM",
    BlockSuspend = 36 "BLOCK_SUSPEND",
    AuditRead = 37 "AUDIT_READ",
    Perfmon = 38 "PERFMON",
    Bpf = 39 "BPF",
    CheckpointRestore = 40 "CHECKPOINT_RESTORE",
}

impl Capability {
    /// The one of this name, which is without `CAP_`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == name)
    }

    pub(crate) fn to_kernel(self) -> CapabilitySet {
        Capabilities::NONE.with(self).to_kernel()
    }
}

/// A set, as a mask of bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Capabilities(u64);

impl Capabilities {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self((1 << Capability::ALL.len()) - 1);

    #[must_use]
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }

    #[must_use]
    pub fn contains_all(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u8)
    }

    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.contains(*capability))
    }

    /// Reads the hexadecimal mask of a `Cap…` line of `/proc/PID/status`.
    pub(crate) fn from_status(mask: &str) -> Option<Self> {
        u64::from_str_radix(mask.trim(), 16).ok().map(Self)
    }

    pub(crate) fn to_kernel(self) -> CapabilitySet {
        CapabilitySet::from_bits_retain(self.0)
    }

    pub(crate) fn from_kernel(set: CapabilitySet) -> Self {
        Self(set.bits())
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        if *self == Self::ALL {
            return f.write_str("all");
        }
        let names: Vec<_> = self.iter().map(Capability::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capabilities({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernel_s() {
        for (number, capability) in Capability::ALL.into_iter().enumerate() {
            assert_eq!(capability as usize, number);
        }
        assert_eq!(Capabilities::NONE.with(Capability::NetRaw).to_kernel(), CapabilitySet::NET_RAW);
        let last = Capabilities::NONE.with(Capability::CheckpointRestore);
        assert_eq!(last.to_kernel(), CapabilitySet::CHECKPOINT_RESTORE);
    }

    #[test]
    fn a_mask_of_status_is_read() {
        let docker = Capabilities::from_status("00000000a80425fb\n").expect("a mask");
        assert!(docker.contains(Capability::NetRaw) && !docker.contains(Capability::SysPtrace));
        assert_eq!(Capabilities::from_status("none"), None);
    }
}
