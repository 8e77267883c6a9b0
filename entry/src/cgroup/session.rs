//! The control groups of one session: one directory in each hierarchy that is used.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::control::Control;
use super::directory::{Descendants, members, remove};
use super::exhausted::{Exhausted, OutOfProcesses};
use super::place::Version;
use super::resources::{Memory, Resources};
use super::{CgroupError, v1, v2};
use crate::child::Child;

/// Killed processes are gone within milliseconds, unless the node hardly runs.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// For a caller that could not call [`SessionCgroup::close`]: the next owner removes what then is left.
const DROP_LIMIT: Duration = Duration::from_millis(100);

/// How often a group is looked at again: about as long as a process takes to die.
const AGAIN: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Debug)]
#[must_use = "the session's processes are killed when this is dropped"]
pub struct SessionCgroup {
    groups: Vec<Group>,
    resources: Option<Resources>,
    /// Where the kernel would not end all of the session itself.
    want: Option<v1::MemoryShortage>,
    ran_out: AtomicBool,
    /// How often all sessions together had been out of memory before this one, where version 2 counts it.
    shortages: u64,
    closed: bool,
}

/// One directory.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) version: Version,
    pub(super) controls: Vec<Control>,
    pub(super) path: PathBuf,
}

/// What is known of a session once its groups are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// What it ran into, where the kernel had to kill.
    pub out_of_memory: Option<Exhausted>,
    /// Whether, and at which limit of its own, a process could not be started.
    pub out_of_processes: Option<OutOfProcesses>,
}

impl SessionCgroup {
    pub(super) fn new(resources: Option<Resources>) -> Self {
        let ran_out = AtomicBool::new(false);
        Self { groups: Vec::new(), resources, want: None, ran_out, shortages: 0, closed: false }
    }

    /// Takes a group that exists, and limits it.
    pub(super) fn push(&mut self, group: Group) -> Result<(), CgroupError> {
        let limited = self.resources.map_or(Ok(()), |resources| group.limit(&resources));
        if let Some(resources) = self.resources.filter(|_| group.has_memory_of(Version::V1)) {
            self.want = v1::MemoryShortage::of(&group.path, resources.memory);
        }
        if self.resources.is_some() && group.has_memory_of(Version::V2) {
            self.shortages = group.path.parent().map_or(0, v2::shortages);
        }
        self.adopt(group);
        limited
    }

    /// Becomes readable when [`Self::runs_out`] may have become true; none where the kernel ends a
    /// session that does, as version 2 can be told to.
    #[must_use]
    pub fn memory_events(&self) -> Option<BorrowedFd<'_>> {
        self.want.as_ref().map(|want| want.event().as_fd())
    }

    /// Whether the session wants more memory than it may have: to be asked after an event, and then
    /// to be killed.
    pub fn runs_out(&self) -> bool {
        if self.want.as_ref().is_some_and(v1::MemoryShortage::is_told) {
            self.ran_out.store(true, Ordering::Relaxed);
        }
        self.ran_out.load(Ordering::Relaxed)
    }

    pub(super) fn adopt(&mut self, group: Group) {
        self.groups.push(group);
    }

    /// Moves a helper that has not been waited for; what it starts from now on is born here. The
    /// first move after a quiet moment waits for all processors (an RCU grace period): 9 ms, or 20.
    pub fn add(&self, helper: &Child) -> Result<(), CgroupError> {
        let pid = helper.pid().as_raw_nonzero();
        self.groups.iter().try_for_each(|Group { path, .. }| {
            fs::write(path.join("cgroup.procs"), pid.to_string())
                .map_err(|source| CgroupError::Move { path: path.clone(), source })
        })
    }

    #[cfg(test)]
    pub(super) fn paths(&self) -> impl Iterator<Item = &std::path::Path> {
        self.groups.iter().map(|group| group.path.as_path())
    }

    /// Kills whatever runs in it. [`SessionCgroup::close`] follows.
    pub fn kill(&self) -> Result<(), CgroupError> {
        let at_once = self.groups.iter().find(|group| group.controls.contains(&Control::Kill));
        match at_once {
            Some(group) => group.kill(),
            None => self.groups.iter().try_for_each(Group::kill),
        }
    }

    /// Kills what is left and removes the groups. Waits for the processes' end, for five seconds at most: what
    /// the kernel holds up may take longer, and then this is to be called again.
    pub fn close(&mut self) -> Result<Closed, CgroupError> {
        self.close_within(CLOSE_LIMIT, Keep::Nothing)
    }

    /// The same, but keeps the group that counts processes while some of them have ended and their parent has not
    /// reaped them: what they take of the limit of all sessions is this session's. [`SessionCgroup::unreaped`] says
    /// how many those are, and [`SessionCgroup::close`] follows.
    pub fn end(&mut self) -> Result<Closed, CgroupError> {
        self.close_within(CLOSE_LIMIT, Keep::Unreaped)
    }

    /// Whether [`SessionCgroup::end`] has kept a group.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        let counts = |group: &&Group| group.controls.contains(&Control::Pids);
        self.groups.iter().filter(counts).any(|group| group.path.exists())
    }

    /// How many processes count though they have ended, once that is all there is.
    #[must_use]
    pub fn unreaped(&self) -> u64 {
        self.groups.iter().map(Group::processes).sum()
    }

    fn close_within(&mut self, limit: Duration, keep: Keep) -> Result<Closed, CgroupError> {
        self.closed = true;
        let ran_out = self.runs_out() || self.groups.iter().any(Group::ran_out_of_memory);
        let limits = self.resources.filter(|_| ran_out);
        let was_refused = self.groups.iter().any(Group::ran_out_of_processes);
        let closed = Closed {
            out_of_memory: limits.map(|limits| self.exhausted(limits.memory)),
            out_of_processes: self
                .resources
                .filter(|_| was_refused)
                .map(|limits| OutOfProcesses(limits.pids)),
        };
        let deadline = Instant::now() + limit;
        loop {
            let removed = self.remove(keep);
            match removed {
                Ok(()) => return Ok(closed),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => self.kill()?,
            }
            thread::sleep(AGAIN);
        }
    }

    /// Whose memory it was that ran out: the session's, whose `limit` that is, or that of a group above.
    fn exhausted(&self, limit: Memory) -> Exhausted {
        let of_memory = |group: &&Group| group.controls.contains(&Control::Memory);
        let Some(Group { version, path, .. }) = self.groups.iter().find(of_memory) else {
            return Exhausted::Session(limit);
        };
        let own = match version {
            Version::V1 => v1::has_reached(path, limit.bytes()),
            Version::V2 => v2::has_been_short(path),
        };
        if own {
            return Exhausted::Session(limit);
        }
        let together = path.parent().and_then(|all| match version {
            Version::V1 => v1::memory_limit(all).filter(|limit| v1::has_reached(all, *limit)),
            Version::V2 => v2::memory_limit(all).filter(|_| v2::shortages(all) > self.shortages),
        });
        together.map_or(Exhausted::Above, |bytes| Exhausted::Together(Memory::of_bytes(bytes)))
    }

    /// Removes what has nobody in it; the error is about the last that has.
    fn remove(&self, keep: Keep) -> Result<(), CgroupError> {
        let goes = |group: &&Group| keep == Keep::Nothing || !group.has_only_unreaped();
        // Hardly ever has anybody made groups below: only who is root of the node can.
        let stay = self.groups.iter().filter(goes).filter(|group| remove(&group.path).is_err());
        let all = stay.flat_map(|group| Descendants::of(&group.path));
        all.filter_map(|path| remove(&path).err()).last().map_or(Ok(()), Err)
    }
}

impl Drop for SessionCgroup {
    fn drop(&mut self) {
        if !self.closed {
            let _ = self.close_within(DROP_LIMIT, Keep::Nothing);
        }
    }
}

/// What of a session's groups stays when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Nothing,
    /// The group that counts processes, while it counts any.
    Unreaped,
}

impl Group {
    /// How many processes it counts, those that have ended included, where that is what it is for.
    fn processes(&self) -> u64 {
        if !self.controls.contains(&Control::Pids) {
            return 0;
        }
        let current = super::read(self.path.join("pids.current")).unwrap_or_default();
        current.trim().parse().unwrap_or_default()
    }

    fn has_only_unreaped(&self) -> bool {
        let is_empty = |group: PathBuf| members(&group).is_ok_and(|members| members.is_empty());
        self.processes() > 0 && Descendants::of(&self.path).all(is_empty)
    }

    fn limit(&self, resources: &Resources) -> Result<(), CgroupError> {
        self.controls.iter().try_for_each(|control| match self.version {
            Version::V1 => v1::limit(&self.path, *control, resources),
            Version::V2 => v2::limit(&self.path, *control, resources),
        })
    }

    fn has_memory_of(&self, version: Version) -> bool {
        self.version == version && self.controls.contains(&Control::Memory)
    }

    fn ran_out_of_processes(&self) -> bool {
        if !self.controls.contains(&Control::Pids) {
            return false;
        }
        let events = super::read(self.path.join("pids.events")).unwrap_or_default();
        super::counter(&events, "max").is_some_and(|refused| refused > 0)
    }

    fn ran_out_of_memory(&self) -> bool {
        match self.version {
            version if !self.has_memory_of(version) => false,
            Version::V1 => v1::ran_out_of_memory(&self.path),
            Version::V2 => v2::ran_out_of_memory(&self.path),
        }
    }

    fn kill(&self) -> Result<(), CgroupError> {
        match self.version {
            _ if !self.path.exists() => Ok(()),
            Version::V1 => v1::kill(&self.path),
            Version::V2 => v2::kill(&self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_to_the_files_that_are_there() {
        let group = tempfile::tempdir().expect("a directory");
        let file = |name: &str| group.path().join(name);
        for name in ["memory.max", "memory.oom.group", "pids.max"] {
            fs::write(file(name), "").expect("a file");
        }
        let controls = vec![Control::Memory, Control::Pids, Control::Cpu, Control::Kill];
        let path = group.path().to_owned();
        let group = Group { version: Version::V2, controls, path };
        group.limit(&Resources::default()).expect("swap and cpu are not there, and need not be");
        let content = |name: &str| fs::read_to_string(file(name)).expect("a file");
        assert_eq!(content("memory.max"), (256 << 20).to_string());
        assert_eq!((content("memory.oom.group"), content("pids.max")), ("1".into(), "256".into()));
        fs::remove_file(file("pids.max")).expect("removed");
        let error = group.limit(&Resources::default()).expect_err("no limit of processes");
        assert!(error.to_string().ends_with("pids.max"), "{error}");
    }
}
