//! What of the node must be the same before and after: mounts, `/proc`, links, network namespaces, control groups,
//! and no process or zombie of ours.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};

use crate::cgroup;
use crate::container::namespace_link;
use crate::process::{all_pids, arguments};
use crate::wait::patiently;

/// The kernel takes network namespaces apart in the background; a second is normal.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// Programs that a test or a session starts, by the last part of the executable's path.
const PROGRAMS: [&str; 8] = [
    "nsdebug-agent",
    "kubectl-nsdebug",
    "target-app",
    "containerd",
    "containerd-shim-runc-v2",
    "runc",
    "dockerd",
    "docker-proxy",
];

/// The node at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSnapshot {
    mounts: String,
    init: String,
    links: BTreeSet<String>,
    networks: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    processes: BTreeSet<String>,
    zombies: BTreeSet<String>,
}

impl NodeSnapshot {
    pub fn take() -> Self {
        Self {
            mounts: mount_table(),
            init: init(),
            links: links(),
            networks: all_pids().iter().filter_map(|pid| namespace_link(*pid, "net")).collect(),
            cgroups: cgroups(),
            processes: all_pids().into_iter().filter_map(describe_ours).collect(),
            zombies: all_pids().into_iter().filter_map(describe_zombie).collect(),
        }
    }

    /// Byte for byte what `/proc/self/mountinfo` said.
    pub fn mounts(&self) -> &str {
        &self.mounts
    }

    /// What differs in `after`, a line each; what went away by itself does not count.
    pub fn differences(&self, after: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.init != after.init {
            found.push(format!("/proc/1: was {}, is {}", self.init, after.init));
        }
        found.extend(differing_lines("mount", &self.mounts, &after.mounts));
        if self.mounts != after.mounts && found.is_empty() {
            found.push("the mount table has the same lines in another order".to_owned());
        }
        found.extend(added("link", &self.links, &after.links));
        found.extend(self.links.difference(&after.links).map(|link| format!("link gone: {link}")));
        found.extend(added("network namespace", &self.networks, &after.networks));
        let paths = |set: &BTreeSet<PathBuf>| set.iter().map(|p| p.display().to_string()).collect();
        found.extend(added("control group", &paths(&self.cgroups), &paths(&after.cgroups)));
        found.extend(added("process", &self.processes, &after.processes));
        found.extend(added("zombie", &self.zombies, &after.zombies));
        found
    }

    /// What still differs once the node had time to settle: a zombie waits for its parent, for instance.
    pub fn lasting_differences(&self) -> Vec<String> {
        let mut found = Vec::new();
        patiently(SETTLE_LIMIT, || {
            found = self.differences(&Self::take());
            found.is_empty().then_some(())
        });
        found
    }

    /// Fail the test unless the node is, or within seconds becomes, what it was.
    pub fn assert_untouched(&self) {
        let found = self.lasting_differences();
        assert!(found.is_empty(), "the node is not as it was:\n  {}", found.join("\n  "));
    }
}

fn added(what: &str, before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<String> {
    after.difference(before).map(|one| format!("{what} added: {one}")).collect()
}

fn differing_lines(what: &str, before: &str, after: &str) -> Vec<String> {
    let (old, new) = (lines(before), lines(after));
    let gone = old.difference(&new).map(|line| format!("{what} gone: {line}"));
    gone.chain(added(what, &old, &new)).collect()
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

fn mount_table() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").expect("the node has a mount table")
}

/// Every place where something is mounted, in the order of mounting.
fn mount_points() -> Vec<PathBuf> {
    let table = mount_table();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(|point| PathBuf::from(point.replace("\\040", " "))).collect()
}

pub(crate) fn unmount_below(folder: &Path) {
    // The last mount is on top.
    for mount in mount_points().iter().rev().filter(|mount| mount.starts_with(folder)) {
        let _ = unmount(mount, UnmountFlags::DETACH);
    }
}

/// Which file system `/proc` is, and which process is its first: another mount on top would change either.
fn init() -> String {
    let device = std::fs::metadata("/proc").map(|proc| proc.dev()).unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/1/stat").unwrap_or_default();
    let started = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(19));
    let myself = std::fs::read_link("/proc/self")
        .is_ok_and(|link| link.to_str() == Some(&std::process::id().to_string()));
    let started = started.unwrap_or("?");
    format!("device {device:#x}, first process started at {started}, /proc/self is us: {myself}")
}

fn links() -> BTreeSet<String> {
    let entries = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn cgroups() -> BTreeSet<PathBuf> {
    let all = cgroup::hierarchies().into_iter().flat_map(|root| cgroup::deepest_first(&root));
    all.filter(|folder| folder.to_string_lossy().contains("nsdebug")).collect()
}

/// A process that is ours by its program: a name we know, or one that exists in memory only.
fn describe_ours(pid: u32) -> Option<String> {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let text = program.to_string_lossy();
    let path = text.trim_end_matches(" (deleted)");
    let name = path.rsplit('/').next().unwrap_or(path);
    let ours = PROGRAMS.contains(&name) || text.starts_with("/memfd:");
    ours.then(|| format!("{pid} {text}: {}", arguments(pid).join(" ")))
}

fn describe_zombie(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let (state, parent) = (fields.next()?, fields.next()?);
    (state == "Z").then(|| format!("{name}), child of {parent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_does_not_differ_from_itself() {
        let snapshot = NodeSnapshot::take();
        assert_eq!(snapshot.differences(&snapshot), [""; 0]);
    }

    #[test]
    fn what_changed_is_named() {
        let before = NodeSnapshot::take();
        let mut after = before.clone();
        after.mounts.push_str("a mount\n");
        after.init.push('!');
        after.links.insert("veth9".to_owned());
        after.cgroups.insert(PathBuf::from("/sys/fs/cgroup/nsdebug"));
        after.processes.insert("7 nsdebug-agent".to_owned());
        after.zombies.insert("8 (sh), child of 7".to_owned());
        let found = before.differences(&after).join("\n");
        for name in ["a mount", "/proc/1", "veth9", "cgroup/nsdebug", "nsdebug-agent", "(sh)"] {
            assert!(found.contains(name), "{name} is not in\n{found}");
        }
    }

    #[test]
    fn a_mount_that_went_away_is_named() {
        let before = NodeSnapshot::take();
        let after = NodeSnapshot { mounts: String::new(), ..before.clone() };
        assert!(before.differences(&after)[0].starts_with("mount gone: "));
    }
}
