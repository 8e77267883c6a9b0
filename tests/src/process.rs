//! One process, held by a descriptor so that its number can be used again without anybody being fooled;
//! and the opposite: making a number be used again.

use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::until;

/// Other programs take numbers too; each attempt loses only against one that comes in between.
const RECYCLE_ATTEMPTS: usize = 2000;

/// A process that was alive when it was opened.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    pidfd: OwnedFd,
}

impl Process {
    /// None when no such process exists; a zombie still exists.
    pub fn open(pid: u32) -> Option<Self> {
        let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
        pidfd_open(number, PidfdFlags::empty()).ok().map(|pidfd| Self { pid, pidfd })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Send a signal; a process that has ended does not mind.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Wait for its end; false when the time was up.
    pub fn wait(&self, limit: Duration) -> bool {
        let mut wanted = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let limit = Timespec::try_from(limit).expect("a limit of less than 500 million years");
        matches!(poll(&mut wanted, Some(&limit)), Ok(1))
    }

    /// Wait until it has written nothing for half a second, and did not end: its reader has stalled.
    pub fn wait_until_idle(&self, limit: Duration) {
        self.wait_until_stays("wchar", limit);
    }

    /// The same of what it reads.
    pub fn wait_until_reads_no_more(&self, limit: Duration) {
        self.wait_until_stays("rchar", limit);
    }

    /// The `counter` is one of proc(5)'s `io`.
    fn wait_until_stays(&self, counter: &str, limit: Duration) {
        let count = || {
            let status = std::fs::read_to_string(format!("/proc/{}/io", self.pid)).ok()?;
            status.lines().find(|line| line.starts_with(counter)).map(str::to_owned)
        };
        let mut last = None;
        until("the stream to stall", limit, || {
            let now = count();
            let same = now.is_some() && now == last;
            last = now;
            same || self.wait(Duration::from_millis(500))
        });
        assert!(!self.wait(Duration::ZERO), "it ended before the stream went on");
    }

    /// Ask it to end, and insist once `patience` is over.
    pub(crate) fn end(&self, patience: Duration) {
        self.signal(Signal::TERM);
        if !self.wait(patience) {
            self.signal(Signal::KILL);
            self.wait(patience);
        }
    }
}

/// Every process number there is now.
pub(crate) fn all_pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The arguments of a process; none for a zombie or a kernel thread.
pub(crate) fn arguments(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The processes that any thread of `pid` has started and that still are.
pub fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    // A thread may end meanwhile; its children are then another's.
    let lists = threads
        .flatten()
        .map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let words = lists.collect::<Vec<_>>().join(" ");
    words.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Bytes of its memory that nobody else has mapped.
pub fn private_memory(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(path).expect("the process runs and is ours");
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    let kibibytes = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kibibytes.sum::<u64>() * 1024
}

/// Start `command` so that it gets the number of a process that is gone.
///
/// The kernel hands out the number after the last one, and lets root say which that was.
pub fn recycle(pid: u32, command: &mut Command) -> Child {
    for _ in 0..RECYCLE_ATTEMPTS {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())
            .expect("root can choose the next process number");
        let mut child = command.spawn().expect("the program starts");
        if child.id() == pid {
            return child;
        }
        child.kill().expect("an own child can be killed");
        child.wait().expect("an own child can be waited for");
    }
    panic!("process number {pid} could not be had in {RECYCLE_ATTEMPTS} attempts")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Requirement, may_skip};

    #[test]
    fn the_number_of_a_dead_process_can_be_had_again() {
        if may_skip(Requirement::root()) {
            return;
        }
        let mut first = Command::new("true").spawn().expect("true starts");
        let pid = first.id();
        let held = Process::open(pid).expect("it is not reaped yet");
        first.wait().expect("an own child can be waited for");
        let mut second = recycle(pid, Command::new("sleep").arg("60"));
        assert!(held.wait(Duration::ZERO), "the descriptor still means the first process");
        assert!(!Process::open(pid).expect("the second runs").wait(Duration::ZERO));
        second.kill().expect("an own child can be killed");
        second.wait().expect("an own child can be waited for");
    }
}
