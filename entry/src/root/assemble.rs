//! Putting a session's root together: first what the node has, after joining the rest.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, UnmountFlags, unmount};
use rustix::process::{fchdir, pivot_root};

use super::detached::{DATA, Detached, INERT, READ_ONLY};
use super::parts::Parts;
use super::target::{self, Visit};
use super::walk::Walk;
use crate::message::{During, Failure, Step};
use crate::plan::Confinement;
use crate::privilege::{Identity, with_rights_of};
use crate::procfs;
use crate::sys::Depth;

/// What the OCI runtimes hide of `/proc` and `/sys`: memory, keys and clocks of the node, and what tells of others' work by
/// how often it is interrupted or how much power it takes.
const MASKED: [&str; 13] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/sysrq-trigger",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];

/// The same of each processor: how often it was too hot.
const PROCESSORS: &str = "sys/devices/system/cpu";
const OF_A_PROCESSOR: &str = "thermal_throttle";

/// Whose processes a session shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processes {
    /// Those of the pid namespace that has been joined, and that this process is not in.
    Joined,
    /// Those of the pid namespace that this process is the first of.
    Own,
}

/// A root that lacks what the joined namespaces decide.
pub(crate) struct Assembled {
    root: OwnedFd,
    visit: Option<Visit>,
    /// Places of the target that are to be covered, each once.
    hidden: BTreeSet<OsString>,
    who: Identity,
}

/// In the helper, **before** it joins anything: what comes from the node and from the target's own
/// mount namespace.
pub(crate) fn assemble(
    confinement: &Confinement,
    target: BorrowedFd<'_>,
    parts: Parts,
    terminals: Option<OwnedFd>,
) -> Result<Assembled, Failure> {
    let Confinement { tree, who, write, watch, .. } = confinement;
    let tree = tree.to_string_lossy();
    let visit = target::visit(target, *write).during(Step::CloneTarget)?;
    let judged = watch.judge(&visit.mounts, || procfs::mounts_of("1"));
    let exposed = |why: String| Failure { step: Step::Exposed, errno: 0, path: Some(why.into()) };
    let hidden = judged.during(Step::CloneTarget)?.map_err(exposed)?;
    let hidden = confinement.hidden.iter().cloned().chain(hidden).collect();
    let root = Detached::clone_of(CWD, &tree, Depth::One)
        .and_then(|root| root.restricted(INERT | READ_ONLY, Depth::One))
        .and_then(|root| root.attach(CWD, &tree))
        .during(Step::OpenToolbox)
        .map_err(|failure| failure.about(&*tree))?;
    parts.attach(root.as_fd(), who, terminals.map(Detached::from))?;
    Ok(Assembled { root, visit: Some(visit), hidden, who: who.clone() })
}

impl Assembled {
    /// What the joined namespaces decide, but for their processes. Returns the target's `/proc`.
    fn join(&mut self) -> Result<Option<Detached>, Failure> {
        let about = |place: &'static str| move |failure: Failure| failure.about(place);
        let root = self.root.as_fd();
        Detached::new("sysfs", &[], DATA | READ_ONLY)
            .and_then(|sys| sys.attach(root, "sys"))
            .during(Step::MountToolbox)
            .map_err(about("sys"))?;
        let Some(Visit { files, proc, .. }) = self.visit.take() else { return Ok(None) };
        let files = files.attach(root, "target");
        let files = files.during(Step::MountToolbox).map_err(about("target"))?;
        let target = Walk::of(files.as_fd()).during(Step::MountToolbox).map_err(about("target"))?;
        for place in &self.hidden {
            let hidden = target::cover(&target, place).during(Step::MountToolbox);
            hidden.map_err(|failure| failure.about(place))?;
        }
        // Only now: a name may lead to what is covered.
        self.names(&target).during(Step::MountToolbox).map_err(about("etc"))?;
        Ok(proc)
    }

    /// The names that the target goes by and looks up. They are kept in the memory of `/tmp`, where
    /// everybody may make a file, and nothing shows it: what is bound stays when its own name is gone.
    fn names(&self, target: &Walk<'_>) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let memory = openat(&self.root, "tmp", flags, Mode::empty())?;
        let names = ["resolv.conf", "hosts"];
        let read = || names.map(|name| (name, target::content_of(target, name)));
        for (name, content) in with_rights_of(&self.who, read)? {
            target::place(&content, self.root.as_fd(), memory.as_fd(), name)?;
        }
        let mut name = rustix::system::uname().nodename().to_bytes().to_vec();
        name.push(b'\n');
        target::place(&name, self.root.as_fd(), memory.as_fd(), "hostname")
    }
}

/// **After** the helper has joined: the rest, `/proc` last, and then there is no way back.
pub(crate) fn enter(mut assembled: Assembled, processes: Processes) -> Result<(), Failure> {
    let targets = assembled.join()?;
    let root = assembled.root.as_fd();
    proc(targets, processes).and_then(|proc| proc.attach(root, "proc")).during(Step::MountProc)?;
    let mut covers = Covers::default();
    let of_processors = heats(root).during(Step::MountProc)?;
    for path in MASKED.into_iter().map(str::to_owned).chain(of_processors) {
        covers.hide(root, &path).during(Step::MountProc).map_err(|failure| failure.about(path))?;
    }
    fchdir(root).during(Step::Pivot)?;
    // The old root ends up under the new one, and is all that is mounted there (pivot_root(2)).
    pivot_root(".", ".").during(Step::Pivot)?;
    unmount(".", UnmountFlags::DETACH).during(Step::Pivot)?;
    rustix::process::chdir("/").during(Step::Pivot)
}

/// What is hidden of each processor: nothing on most virtual machines.
fn heats(root: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let processors = match openat(root, PROCESSORS, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => Dir::new(other?)?,
    };
    let mut heats = Vec::new();
    for entry in processors {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        let is_processor = name.strip_prefix("cpu").is_some_and(|rest| rest.parse::<u32>().is_ok());
        let path = format!("{PROCESSORS}/{name}/{OF_A_PROCESSOR}");
        // All have it, or none has.
        if is_processor && statat(root, &path, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            heats.push(path);
        }
    }
    Ok(heats)
}

/// The `/proc` of a session, without a process of ours in the target's pid namespace: one with the
/// privilege to mount would be there for a process that may trace. The target has one already; where it
/// is not what it should be, Linux 6.17 makes one of any pid namespace.
fn proc(targets: Option<Detached>, processes: Processes) -> io::Result<Detached> {
    const JOINED: &str = "/proc/self/ns/pid_for_children";
    match processes {
        Processes::Own => Detached::new("proc", &[], DATA | READ_ONLY),
        Processes::Joined => {
            let pids = rustix::fs::stat(JOINED)?.st_ino;
            match targets.filter(|mount| target::is_proc_of(mount, pids)) {
                Some(mount) => Ok(mount),
                None => Detached::new("proc", &[("pidns", JOINED)], DATA | READ_ONLY),
            }
        }
    }
}

/// What masked places are covered with: a file with `/dev/null`, a directory with an empty one. What has
/// been put over one place is cloned for the next, which costs less than to make it again.
#[derive(Default)]
struct Covers {
    file: Option<String>,
    directory: Option<String>,
}

impl Covers {
    fn hide(&mut self, root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
        let stat = match statat(root, path, AtFlags::SYMLINK_NOFOLLOW) {
            // What is not there needs no cover.
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
        let first = if is_directory { &mut self.directory } else { &mut self.file };
        let cover = match first {
            Some(first) => Detached::clone_of(root, first, Depth::One)?,
            None if is_directory => {
                Detached::new("tmpfs", &[("size", "0"), ("nr_inodes", "1")], DATA | READ_ONLY)?
            }
            None => Detached::clone_of(root, "dev/null", Depth::One)?
                .restricted(MountAttrFlags::MOUNT_ATTR_NOEXEC, Depth::One)?,
        };
        cover.attach(root, path)?;
        first.get_or_insert_with(|| path.to_owned());
        Ok(())
    }
}
