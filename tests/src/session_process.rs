//! The processes of a session by what the kernel calls them, which is what `ps -e` and `pgrep -x` show.

pub const HELPER: &str = "nsdebug-helper";
/// The kernel keeps 15 bytes of [`SUPERVISOR_LINE`].
pub const SUPERVISOR: &str = "nsdebug-supervi";
pub const RELAY: &str = "nsdebug-relay";
pub const BROKER: &str = "nsdebug-broker";

/// The supervisor's command line, which `ps -ef` shows.
pub const SUPERVISOR_LINE: &str = "nsdebug-supervisor";

/// Whether there is a process of that number and name.
pub fn is_called(pid: u32, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name)
}
