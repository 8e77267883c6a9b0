//! Everything that runs below a process, and its end.
//!
//! Complete below a subreaper, as a supervisor is: a process that loses its parent becomes its child.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

/// Kills every descendant that can be seen. The next call finds what was forked meanwhile.
pub(crate) fn kill_all() {
    for pid in below(std::process::id()).into_iter().filter_map(|pid| i32::try_from(pid).ok()) {
        // A number that was freed since was freed by us: only we reap them, and not meanwhile.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Kills every descendant of a child of this process that nobody has reaped.
pub(crate) fn kill_below(child: u32) {
    let open = |pid: u32| {
        let number = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
        Some((pid, pidfd_open(number, PidfdFlags::empty()).ok()?))
    };
    let held: Vec<_> = below(child).into_iter().filter_map(open).collect();
    // Only now are the numbers held: a process that still is one of them is the one that the descriptor means.
    let still = below(child);
    for (_, pidfd) in held.iter().filter(|(pid, _)| still.contains(pid)) {
        let _ = pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
    }
}

fn below(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(children(parent));
        next += 1;
    }
    found.remove(0);
    found
}

/// The children of every thread of `pid` (proc(5), `CONFIG_PROC_CHILDREN`).
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process to look at")]
    fn a_child_is_found_among_the_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        assert!(children(std::process::id()).contains(&child.id()));
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert!(!children(std::process::id()).contains(&child.id()));
    }
}
