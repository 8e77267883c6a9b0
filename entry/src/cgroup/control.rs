//! What groups are used for, and who arranges them.

/// The group that sessions' groups are in, and nothing else.
pub(super) const SESSIONS: &str = "nsdebug";

/// What a group does for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Memory,
    Pids,
    Cpu,
    /// Which may be opened: a controller of v1, a program on any group of v2.
    Devices,
    /// Ends all processes at once: any group of v2, or the freezer of v1.
    Kill,
}

impl Control {
    /// The controller of v1 and v2, where both have one.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Devices => "devices",
            Self::Kill => "freezer",
        }
    }

    /// Whether a group of v2 has it only once the one above has handed it down.
    pub(super) fn is_handed_down(self) -> bool {
        matches!(self, Self::Memory | Self::Pids | Self::Cpu)
    }
}

/// Who makes the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Alone in its control group, which it may arrange.
    Daemon,
    /// Started by a shell, among whose processes it is.
    Command,
}
