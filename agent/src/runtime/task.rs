//! How the process of a container is.

use std::fmt;

use containerd_client::types::v1::{Process, Status};

/// What containerd says of a container's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// There is no process: never started, or cleaned up as the CRI plugin does at once.
    Absent,
    Created,
    Running {
        pid: u32,
    },
    Stopped {
        code: u32,
    },
    Paused,
    Unknown,
}

impl TaskState {
    pub(super) fn read(process: &Process) -> Self {
        match process.status() {
            Status::Running if process.pid != 0 => Self::Running { pid: process.pid },
            Status::Created => Self::Created,
            Status::Stopped => Self::Stopped { code: process.exit_status },
            Status::Paused | Status::Pausing => Self::Paused,
            Status::Running | Status::Unknown => Self::Unknown,
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("not started yet, or has ended"),
            Self::Created => f.write_str("created and not started"),
            Self::Running { pid } => write!(f, "running as process {pid}"),
            Self::Stopped { code } => write!(f, "stopped with exit code {code}"),
            Self::Paused => f.write_str("paused"),
            Self::Unknown => f.write_str("in a state that containerd does not know"),
        }
    }
}
