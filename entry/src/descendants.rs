//! Everything that runs below this process, and its end.
//!
//! Complete because this process is a subreaper: whoever loses its parent becomes our child.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Kills every descendant that can be seen. Whoever forks meanwhile is found by the next call.
pub(crate) fn kill_all() {
    let mut found = vec![std::process::id()];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(children(parent));
        next += 1;
    }
    for pid in found.into_iter().skip(1).filter_map(|pid| i32::try_from(pid).ok()) {
        // A number that was freed since was freed by us: only we reap them, and not meanwhile.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
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
    fn a_child_is_found_among_the_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        assert!(children(std::process::id()).contains(&child.id()));
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert!(!children(std::process::id()).contains(&child.id()));
    }
}
