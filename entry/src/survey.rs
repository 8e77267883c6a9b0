//! A look around inside the target's pid namespace: who could take a tool over there.
//!
//! The kernel lets a process trace another, and open what `/proc` shows of it, if it holds every
//! capability that the other is permitted (`ptrace_may_access`, security/commoncap.c). So a tool
//! keeps one harmless capability that nobody around can ever hold: the canary.

use std::fs;
use std::io;
use std::path::Path;

use crate::capability::{Capabilities, Capability};
use crate::cgroup::Neighbours;

/// Capabilities that give power over nothing that a container or node relies on, in the order in
/// which they are tried: timers that wake a sleeping machine, keeping it awake, reading audit
/// records (a multicast socket of the initial network namespace, which no session is in), leases.
pub(crate) const HARMLESS: [Capability; 4] =
    [Capability::WakeAlarm, Capability::BlockSuspend, Capability::AuditRead, Capability::Lease];

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    /// All that any process around holds or could come to hold.
    pub(crate) around: Capabilities,
}

impl Survey {
    /// Reads `/proc`; this process, which is in the user namespace `users`, does not count. Nor do
    /// `sessions`: what they hold was given to them here.
    pub(crate) fn take(users: &Path, sessions: &Neighbours) -> io::Result<Self> {
        let own = std::fs::read_link("/proc/self").ok();
        let mut around = Capabilities::NONE;
        for entry in fs::read_dir("/proc")?.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if own.as_deref() == Some(Path::new(&name)) || sessions.contain(pid) {
                continue;
            }
            // Each thread by itself: what the first one gave up another may have kept.
            for thread in fs::read_dir(entry.path().join("task")).into_iter().flatten().flatten() {
                // Of another user namespace: what it holds there counts for nothing here.
                let theirs = fs::read_link(thread.path().join("ns/user")).ok();
                if theirs.is_some_and(|theirs| theirs != users) {
                    continue;
                }
                // Gone since it was listed, or dead and not reaped: nobody any more.
                let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
                if !is_dead(&status) {
                    around = around.union(capabilities(&status));
                }
            }
        }
        Ok(Self { around })
    }

    /// Whether somebody around may trace whatever runs here, canary or not.
    pub(crate) fn can_trace(self) -> bool {
        self.around.contains(Capability::SysPtrace)
    }

    /// A capability of `available` that nobody around can hold.
    pub(crate) fn canary(self, available: Capabilities) -> Option<Capability> {
        HARMLESS
            .into_iter()
            .find(|canary| available.contains(*canary) && !self.around.contains(*canary))
    }
}

fn is_dead(status: &str) -> bool {
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| state.trim_start().starts_with(['Z', 'X']))
}

/// The union of a process's sets. The bounding set is what an exec could still give it.
pub(crate) fn capabilities(status: &str) -> Capabilities {
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"];
    let masks = status.lines().filter_map(|line| {
        let mask = sets.iter().find_map(|set| line.strip_prefix(set))?;
        Capabilities::from_status(mask)
    });
    masks.fold(Capabilities::NONE, Capabilities::union)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = "Name:\tapp\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
                          CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n";

    #[test]
    fn what_an_exec_could_give_counts_as_held() {
        assert!(capabilities(DOCKER).contains(Capability::NetRaw));
    }

    #[test]
    fn the_canary_is_the_first_that_nobody_around_can_hold() {
        let usual = Survey { around: capabilities(DOCKER) };
        assert_eq!(usual.canary(Capabilities::ALL), Some(Capability::WakeAlarm));
        let waker = Survey { around: usual.around.with(Capability::WakeAlarm) };
        assert_eq!(waker.canary(Capabilities::ALL), Some(Capability::BlockSuspend));
        assert_eq!(
            waker.canary(Capabilities::NONE.with(Capability::Lease)),
            Some(Capability::Lease)
        );
    }

    #[test]
    fn beside_a_privileged_process_there_is_no_canary() {
        let privileged = Survey { around: Capabilities::ALL };
        assert!(privileged.can_trace());
        assert_eq!(privileged.canary(Capabilities::ALL), None);
    }

    #[test]
    fn the_dead_trace_nobody() {
        assert!(is_dead("Name:\tsleep\nState:\tZ (zombie)\nCapBnd:\t000001ffffffffff\n"));
        assert!(!is_dead("Name:\tZ\nState:\tS (sleeping)\n"));
    }

    #[test]
    fn this_machine_can_be_surveyed() {
        let users = fs::read_link("/proc/self/ns/user").expect("a user namespace");
        Survey::take(&users, &Neighbours::own()).expect("a /proc");
    }
}
