//! A session's control groups: its bounds, and the certainty that it can be ended.
//!
//! Below the agent's own groups, never the target's: what a session uses is not charged to the
//! application, and cannot make the kernel kill it. Plain files; nothing here knows what a session is.

mod control;
mod devices;
mod directory;
mod exhausted;
mod hierarchy;
mod neighbours;
mod owner;
mod place;
#[cfg(test)]
mod real;
mod resources;
mod session;
mod v1;
mod v2;
mod writable;

use std::io;
use std::path::PathBuf;

use crate::procfs;
pub use control::Layout;
pub(crate) use devices::device_filter;
pub use exhausted::{Exhausted, OutOfProcesses};
pub use hierarchy::Cgroups;
pub(crate) use neighbours::Neighbours;
pub use resources::{BadCpu, BadMemory, Cpu, Memory, Resources};
pub use session::{Closed, SessionCgroup};
pub use writable::make_cgroups_writable;

/// What went wrong with a control group.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("cannot read {}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("cannot find the control groups of this process: mount /sys/fs/cgroup")]
    NotMounted,
    #[error(
        "cannot make control groups writable: --remount-cgroups works only in a container with the node's pid namespace (hostPID)"
    )]
    NodesMounts,
    #[error("cannot make {} writable", path.display())]
    Remount { path: PathBuf, source: io::Error },
    #[error("no writable control group can limit {what}")]
    NoControl { what: &'static str },
    #[error("cannot enable the controllers of {} for the control groups below it", path.display())]
    Delegate { path: PathBuf, source: io::Error },
    #[error("cannot create the control group {}", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("cannot set {}", file.display())]
    Limit { file: PathBuf, source: io::Error },
    #[error("cannot restrict the devices of the processes in {}", path.display())]
    Devices { path: PathBuf, source: io::Error },
    #[error("cannot move a process into {}", path.display())]
    Move { path: PathBuf, source: io::Error },
    #[error("cannot end the processes in {}", path.display())]
    Kill { path: PathBuf, source: io::Error },
    #[error("cannot remove the control group {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
}

/// Reads all of a control file.
fn read(file: PathBuf) -> Result<String, CgroupError> {
    procfs::read(&file).map_err(|source| CgroupError::Read { file, source })
}

/// The number after `name` in a control file of lines `NAME NUMBER`.
fn counter(text: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let events = "oom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(counter(events, "oom_kill"), Some(2));
        assert_eq!(counter(events, "oom"), Some(3));
        assert_eq!(counter(events, "high"), None);
    }
}
