//! What `ps` calls the processes of a session: each after what it is.
//!
//! `ps` shows either the kernel's name of a process (`comm`) or its command line (`args`). A forked process has both
//! of its parent, so each is written here.

use std::ffi::CStr;
use std::io::{self, IoSlice};

use nix::sys::uio::{RemoteIoVec, process_vm_writev};
use nix::unistd::getpid;
use rustix::thread::set_name;

use crate::procfs::stat_field;

/// The kernel keeps 15 bytes: `nsdebug-supervi` is what `ps -o comm` shows of the supervisor.
pub(crate) const HELPER: &CStr = c"nsdebug-helper";
pub(crate) const SUPERVISOR: &CStr = c"nsdebug-supervisor";
pub(crate) const RELAY: &CStr = c"nsdebug-relay";
pub(crate) const BROKER: &CStr = c"nsdebug-broker";

/// Where the kernel reads the command line of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandLine {
    start: usize,
    length: usize,
}

impl CommandLine {
    /// To be called while `/proc` shows this process. It holds for what this process forks.
    pub(crate) fn find() -> io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        Self::in_stat(&stat).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn in_stat(stat: &str) -> Option<Self> {
        let [start, end] = [48, 49].map(|number| stat_field(stat, number)?.parse::<usize>().ok());
        let (start, end) = (start?, end?);
        Some(Self { start, length: end.checked_sub(start).filter(|length| *length > 0)? })
    }

    /// Names this process.
    pub(crate) fn rename(self, name: &CStr) -> io::Result<()> {
        set_name(name)?;
        let mut line = name.to_bytes().to_vec();
        line.resize(self.length, 0);
        // The last byte stays NUL: otherwise the kernel takes what follows for a part of the line.
        line[self.length - 1] = 0;
        let place = [RemoteIoVec { base: self.start, len: self.length }];
        // A kernel may lack this call. The name is then right, and the command line that of the program's start.
        let _ = process_vm_writev(getpid(), &[IoSlice::new(&line)], &place);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_found_in_stat_and_an_empty_one_is_not() {
        let stat = |start: usize, end: usize| {
            let fields: Vec<_> = (3..=52).map(|number| number.to_string()).collect();
            let text = format!("1 (a) b) {}", fields.join(" "));
            text.replace(" 48 49 ", &format!(" {start} {end} "))
        };
        let found = CommandLine::in_stat(&stat(4096, 4119)).expect("a place");
        assert_eq!((found.start, found.length), (4096, 23));
        assert!(CommandLine::in_stat(&stat(0, 0)).is_none());
        assert!(CommandLine::in_stat("1 (a) S 1").is_none());
    }

    #[test]
    fn no_two_processes_have_one_name_in_15_bytes() {
        let names = [HELPER, SUPERVISOR, RELAY, BROKER];
        let kept: std::collections::BTreeSet<_> =
            names.iter().map(|name| &name.to_bytes()[..name.count_bytes().min(15)]).collect();
        assert_eq!(kept.len(), names.len());
    }
}
