//! The control groups of one test: a folder of its name in every hierarchy, whatever the version.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::Process;
use crate::wait::patiently;

/// Killed processes leave a control group within milliseconds, unless the machine swaps.
const EMPTY_LIMIT: Duration = Duration::from_secs(10);

/// Every mounted hierarchy: the one of v2, or those of v1, or both.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let is_cgroup = |kind: &str| kind == "cgroup" || kind == "cgroup2";
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (path, kind) = (words.next()?, words.next()?);
        is_cgroup(kind).then(|| PathBuf::from(path))
    });
    mounted.collect()
}

/// `folder` and all below it, the deepest first: the order in which they can be removed.
pub(crate) fn deepest_first(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all: Vec<PathBuf> = folders.flat_map(|entry| deepest_first(&entry.path())).collect();
    all.push(folder.to_owned());
    all
}

/// Every control group of the node, in every hierarchy.
pub fn control_groups() -> Vec<PathBuf> {
    hierarchies().iter().flat_map(|hierarchy| deepest_first(hierarchy)).collect()
}

/// A control group of one test's own in every hierarchy; gone when dropped, with all that is in it.
#[derive(Debug)]
#[must_use = "the groups are removed when this is dropped"]
pub struct OwnGroup(String);

impl OwnGroup {
    pub fn new(name: &str) -> Self {
        let name = format!("nsdebug-test-{name}-{}", std::process::id());
        for hierarchy in hierarchies() {
            std::fs::create_dir(hierarchy.join(&name)).expect("root can make a control group");
        }
        Self(name)
    }

    /// `program` to be started in it, to be given arguments.
    pub fn start(&self, program: &OsStr) -> Command {
        const MOVE: &str = "for group do shift; [ \"$group\" = -- ] && break; \
            echo $$ > \"$group/cgroup.procs\"; done; exec \"$@\"";
        // Nobody is let into a group of version 1 that was given no processors yet.
        let takes = |folder: &PathBuf| {
            let processors = std::fs::read_to_string(folder.join("cpuset.cpus"));
            processors.map_or(true, |list| !list.trim().is_empty())
        };
        let groups = hierarchies().into_iter().map(|hierarchy| hierarchy.join(&self.0));
        let mut command = Command::new("sh");
        command.args(["-c", MOVE, "sh"]).args(groups.filter(takes)).arg("--").arg(program);
        command
    }

    /// A file of it, in the hierarchy that has such a one; none where no hierarchy has.
    pub fn read(&self, file: &str) -> Option<String> {
        let mut files = hierarchies().into_iter().map(|root| root.join(&self.0).join(file));
        files.find_map(|path| std::fs::read_to_string(path).ok())
    }

    /// Sets what such a file says, where it is.
    pub fn write(&self, file: &str, value: &str) {
        let mut files = hierarchies().into_iter().map(|root| root.join(&self.0).join(file));
        let file = files.find(|path| path.exists()).expect("a file of a group");
        std::fs::write(file, value).expect("a value that it takes");
    }
}

impl Drop for OwnGroup {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Kill what runs in the groups called `name`, and remove them.
pub(crate) fn remove(name: &str) {
    let roots = hierarchies().into_iter().map(|hierarchy| hierarchy.join(name));
    for root in roots.filter(|root| root.is_dir()) {
        patiently(EMPTY_LIMIT, || {
            kill_all(&root);
            try_remove(&root).then_some(())
        });
    }
}

fn kill_all(root: &Path) {
    for folder in deepest_first(root) {
        for pid in pids(&folder) {
            let Some(process) = Process::open(pid) else { continue };
            // Only now is the number held: what is in the group now is what the descriptor means.
            if pids(&folder).contains(&pid) {
                process.signal(Signal::KILL);
            }
        }
        // A frozen process of v1 does not die before it is thawed.
        let _ = std::fs::write(folder.join("freezer.state"), "THAWED");
    }
}

fn pids(folder: &Path) -> Vec<u32> {
    let lines = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    lines.lines().filter_map(|line| line.parse().ok()).collect()
}

fn try_remove(root: &Path) -> bool {
    deepest_first(root).iter().all(|folder| std::fs::remove_dir(folder).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Requirement, may_skip};

    #[test]
    fn groups_go_with_everything_in_them() {
        if may_skip(Requirement::root()) {
            return;
        }
        let name = format!("nsdebug-test-cgroup-{}", std::process::id());
        let inner = hierarchies()[0].join(&name).join("inner");
        std::fs::create_dir_all(&inner).expect("root can make a control group");
        let mut sleeper =
            std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let moved = std::fs::write(inner.join("cgroup.procs"), sleeper.id().to_string());
        remove(&name);
        let _ = sleeper.kill();
        sleeper.wait().expect("an own child can be waited for");
        moved.expect("a process can be moved");
        assert!(!inner.exists());
    }
}
