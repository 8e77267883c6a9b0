//! A process whose namespaces are to be entered, held so that it cannot become another one.
//!
//! A pid is resolved here, once. After that only descriptors travel.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::capability::Capabilities;
use crate::facts::{Facts, IdMap, Shared};
use crate::kind::Kind;
use crate::moment::Moment;
use crate::namespaces::{INITIAL_PIDS, namespace, namespaces_of, nodes, of_node};
use crate::{mounts, procfs, survey};

/// A live process, by handles that keep naming it and no other.
#[derive(Debug)]
pub struct Target {
    pid: u32,
    pidfd: OwnedFd,
    proc_dir: OwnedFd,
}

/// Why a process cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("there is no process {pid}")]
    NoProcess { pid: u32 },
    #[error("process {pid} has exited")]
    Exited { pid: u32 },
    #[error("the kernel gave no pidfd of process {pid}")]
    Pidfd { pid: u32, source: io::Error },
    #[error("cannot read {file} of process {pid}")]
    Read { pid: u32, file: String, source: io::Error },
    #[error("cannot inspect process {pid}: permission denied")]
    Denied { pid: u32 },
    #[error(
        "the node's processes are not visible: the agent needs the node's pid namespace (in a pod: hostPID: true)"
    )]
    NotOfNode,
    #[error("process {pid} is not in the container {container}: its control group is {found}")]
    OtherContainer { pid: u32, container: String, found: String },
}

impl Target {
    /// Takes hold of process `pid` of this process's pid namespace.
    pub fn open(pid: u32) -> Result<Self, TargetError> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or(TargetError::NoProcess { pid })?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).map_err(|errno| match errno {
            rustix::io::Errno::SRCH => TargetError::NoProcess { pid },
            other => TargetError::Pidfd { pid, source: other.into() },
        })?;
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc_dir = openat(CWD, format!("/proc/{pid}"), directory, Mode::empty())
            .map_err(|_| TargetError::NoProcess { pid })?;
        let target = Self { pid, pidfd, proc_dir };
        // Still alive now: so the number was never given away, and both handles name one process.
        if target.has_exited() { Err(TargetError::Exited { pid }) } else { Ok(target) }
    }

    /// The process that stands for the node: the kernel's own first thread, which never leaves the
    /// namespaces that the machine has started with.
    pub const OF_NODE: u32 = 2;

    /// Takes hold of [`Self::OF_NODE`].
    pub fn of_node() -> Result<Self, TargetError> {
        let kernel = match Self::open(Self::OF_NODE) {
            Err(TargetError::NoProcess { .. }) => return Err(TargetError::NotOfNode),
            other => other?,
        };
        let pids = namespace(&kernel.namespaces()?, "pid")
            .map_err(|source| kernel.unreadable("its namespaces", source))?;
        if pids == Some(INITIAL_PIDS) { Ok(kernel) } else { Err(TargetError::NotOfNode) }
    }

    /// The number it had when it was opened: for people to read.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Becomes readable when the process exits.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether the process is gone, or a zombie.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        let mut exit = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut exit, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Checks that the process is in a control group of `container`, as runtimes name them: a component of the path
    /// is the ID, or what the `cgroups_path` of its OCI specification asks for.
    ///
    /// Where containerd's answer is out of date and the pid already another process's, this is what
    /// notices.
    pub fn check_container(
        &self,
        container: &str,
        cgroups_path: Option<&str>,
    ) -> Result<(), TargetError> {
        let cgroups = self.read("cgroup")?;
        let mut paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let is_known = paths.any(|path| is_of(path, container, cgroups_path));
        if is_known {
            return Ok(());
        }
        let found = cgroups.lines().next_back().unwrap_or("none").to_owned();
        Err(TargetError::OtherContainer { pid: self.pid, container: container.to_owned(), found })
    }

    /// Whether this very process has run since before `moment`: its number cannot have been anybody
    /// else's at any time since. `false` also where that is not known.
    #[must_use]
    pub fn runs_since_before(&self, moment: Moment) -> bool {
        self.read("stat").is_ok_and(|stat| moment.is_after_start(&stat))
    }

    /// What there is to know before entering.
    pub fn facts(&self) -> Result<Facts, TargetError> {
        let ours = namespaces_of(CWD, "/proc/self")
            .map_err(|source| self.unreadable("its namespaces", source))?;
        let theirs = self.namespaces()?;
        let mut namespaces = Vec::with_capacity(Kind::ALL.len());
        for kind in Kind::ALL {
            // A kernel without this kind has no such file, neither here nor there.
            let Some(ours) = namespace(&ours, kind.as_str())
                .map_err(|source| self.unreadable("its namespaces", source))?
            else {
                continue;
            };
            let theirs = namespace(&theirs, kind.as_str())
                .map_err(|source| self.unreadable("the namespaces", source))?;
            namespaces.push((kind, ours, theirs.unwrap_or(ours)));
        }
        let status = self.read("status")?;
        let shared_with_node = self.shared_with_node(&theirs)?;
        let mounts = self.read("mountinfo")?;
        let (mounts_of_node, unseen) = match procfs::mounts_of("1") {
            Ok(mounts) => (mounts, None),
            Err(error) => (String::new(), Some(error.to_string())),
        };
        let told = |of: Option<Capabilities>| {
            of.ok_or_else(|| self.unreadable("status", io::ErrorKind::InvalidData.into()))
        };
        let facts = Facts {
            pid: self.pid,
            name: first(&status, "Name:").unwrap_or_default().escape_debug().to_string(),
            namespaces,
            users: IdMap::parse(&self.read("uid_map")?),
            group_map: IdMap::parse(&self.read("gid_map")?),
            // The second number is the effective one (proc(5)).
            uid: nth(&status, "Uid:", 1),
            gid: nth(&status, "Gid:", 1),
            groups: groups(&status),
            permitted: told(survey::permitted(&status))?,
            capabilities: told(survey::capabilities(&status))?,
            shared_with_node,
            mounts: mounts::numbers(&mounts),
            declared: None,
            reached: mounts::reached(&mounts, &mounts_of_node),
            secrets: mounts::secrets(&mounts, &mounts_of_node),
            unseen,
        };
        if self.has_exited() { Err(TargetError::Exited { pid: self.pid }) } else { Ok(facts) }
    }

    fn shared_with_node(&self, namespaces: &OwnedFd) -> Result<Vec<Shared>, TargetError> {
        let node = of_node().map_err(|source| self.unreadable("the node's namespaces", source))?;
        let mut shared = Vec::new();
        for kind in Shared::ALL {
            let theirs = namespace(namespaces, kind.as_str())
                .map_err(|source| self.unreadable("the namespaces", source))?;
            let nodes = nodes(&node, kind.as_str())
                .map_err(|source| self.unreadable("the node's namespaces", source))?;
            if theirs.is_some() && theirs == nodes {
                shared.push(kind);
            }
        }
        Ok(shared)
    }

    fn namespaces(&self) -> Result<OwnedFd, TargetError> {
        namespaces_of(self.proc_dir.as_fd(), ".")
            .map_err(|source| self.unreadable("the namespaces", source))
    }

    fn read(&self, file: &str) -> Result<String, TargetError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let content = openat(&self.proc_dir, file, flags, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|fd| procfs::rest_of(File::from(fd).take(LONGEST_FACT + 1)))
            // Half of a fact is none: capabilities stand behind groups, of which there may be many.
            .and_then(|content| match u64::try_from(content.len()) {
                Ok(..=LONGEST_FACT) => Ok(content),
                _ => Err(io::ErrorKind::FileTooLarge.into()),
            })
            .map_err(|source| self.unreadable(file, source))?;
        Ok(procfs::text(content))
    }

    fn unreadable(&self, file: &str, source: io::Error) -> TargetError {
        if self.has_exited() {
            return TargetError::Exited { pid: self.pid };
        }
        if source.kind() == io::ErrorKind::PermissionDenied {
            return TargetError::Denied { pid: self.pid };
        }
        TargetError::Read { pid: self.pid, file: file.to_owned(), source }
    }
}

/// Bytes of one file under `/proc/PID`. The most that a process can make of one are 65,536 groups (`NGROUPS_MAX`) of
/// eleven bytes.
const LONGEST_FACT: u64 = 1 << 20;

fn first<'a>(status: &'a str, field: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(field)).map(str::trim)
}

/// A number of a field that has several; a status without it belongs to no user.
fn nth(status: &str, field: &str, index: usize) -> u32 {
    const NOBODY: u32 = 65534;
    let number = first(status, field).and_then(|line| line.split_whitespace().nth(index));
    number.and_then(|digits| digits.parse().ok()).unwrap_or(NOBODY)
}

/// The supplementary groups.
fn groups(status: &str) -> Vec<u32> {
    let listed = first(status, "Groups:").unwrap_or_default();
    listed.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Whether a process in the control group `path` is in one of `container`. Only whole components count: people
/// choose IDs such as `web`, which may be a part of any name.
fn is_of(path: &str, container: &str, cgroups_path: Option<&str>) -> bool {
    let mut components = path.split('/');
    let Some(wanted) = cgroups_path.and_then(|wanted| wanted.rsplit('/').next()) else {
        // By systemd, under a prefix that is not known: PREFIX-ID.scope.
        let scope = format!("-{container}.scope");
        return components.any(|part| part == container || part.ends_with(&scope));
    };
    // cgroupfs makes a directory of what is meant for systemd, too.
    let scope = match wanted.split(':').collect::<Vec<_>>()[..] {
        [_slice, prefix, name] => format!("{prefix}-{name}.scope"),
        _ => wanted.to_owned(),
    };
    let names = [container, wanted, &scope];
    components.any(|part| !part.is_empty() && names.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespaces::{in_nodes_own, is_kernel_thread};

    #[test]
    fn a_control_group_is_recognised_under_both_drivers() {
        let (cgroupfs, systemd) = ("/kubepods/pod1/abc", "system.slice:cri-containerd:abc");
        for (path, cgroups_path) in [
            ("/kubepods/pod1/abc", Some(cgroupfs)),
            ("/../pod1/abc", Some(cgroupfs)),
            ("/kubepods/pod1/abc", None),
            ("/system.slice/cri-containerd-abc.scope", Some(systemd)),
            ("/system.slice/cri-containerd-abc.scope", None),
            ("/system.slice/cri-containerd-abc.scope/init.scope", Some(systemd)),
            ("/a/system.slice:cri-containerd:abc", Some(systemd)),
            ("/other/name", Some("/other/name")),
        ] {
            assert!(is_of(path, "abc", cgroups_path), "{path}: {cgroups_path:?}");
        }
    }

    #[test]
    fn a_control_group_with_a_longer_name_is_another_containers() {
        for path in
            ["/", "/kubepods/pod1/abcd", "/x-abc", "/web-abc/def", "/abc.scope", "/xabc.scope"]
        {
            for cgroups_path in [Some("/kubepods/pod1/abc"), Some("s:docker:abc"), Some("/"), None]
            {
                assert!(!is_of(path, "abc", cgroups_path), "{path}: {cgroups_path:?}");
            }
        }
        assert!(!is_of("/s/docker-x-abc.scope", "abc", Some("s:docker:abc")));
    }

    #[test]
    fn this_process_has_the_namespaces_of_this_process() {
        let target = Target::open(std::process::id()).expect("ourselves");
        let facts = target.facts().expect("facts about ourselves");
        assert!(facts.namespaces.iter().all(|(_, ours, theirs)| ours == theirs));
        let shared = Shared::ALL.into_iter().filter(|kind| in_nodes_own(kind.as_str()));
        assert_eq!(facts.shared_with_node, shared.collect::<Vec<_>>());
    }

    #[test]
    fn a_process_that_never_was_is_named() {
        let error = Target::open(u32::MAX).expect_err("no such process");
        assert_eq!(error.to_string(), "there is no process 4294967295");
    }

    #[test]
    fn what_stands_for_the_node_is_the_kernels_or_nothing() {
        match Target::of_node() {
            Ok(kernel) => assert!(is_kernel_thread(&format!("/proc/{}", kernel.pid()))),
            Err(error) => assert!(
                matches!(error, TargetError::NotOfNode | TargetError::Denied { .. }),
                "{error}"
            ),
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process to look at")]
    fn an_exited_process_is_not_a_target() {
        let mut child = std::process::Command::new("true").spawn().expect("true");
        let target = Target::open(child.id());
        child.wait().expect("its end");
        if let Ok(target) = &target {
            assert!(!target.runs_since_before(Moment::now()));
        }
        // Opened in time or not: afterwards it is seen to be gone.
        assert!(target.map_or(true, |target| target.has_exited()));
    }
}
